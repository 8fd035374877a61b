// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MaxModules bounds the files looked at per process.
const MaxModules = 1 << 14

// Module is an ELF file that a process has mapped with at least one executable
// mapping: its executable, an interpreter, a library.
type Module struct {
	Path    string // as the target names it, without " (deleted)"; may hold any bytes but 0
	Deleted bool   // no longer in the file system under that name
	Dev     uint64 // device as the memory map shows it (unix.Mkdev); a stat of the file may show another
	Inode   uint64 // as the memory map shows it

	// OpenPath is a path that we can read, and that was the very file that
	// is mapped when it was looked up; "" when Err is not nil. It goes
	// through /proc/PID and dies with the process: to be certain later on,
	// use Open.
	OpenPath string
	// Err says why the file cannot be read.
	Err error

	Main     bool      // the process's executable
	Mappings []Mapping // all mappings of the file, by address, also those that hold no code

	file fileID // of the opened file, as stat shows it
}

// fileID is what stat says about a file.
type fileID struct{ dev, inode uint64 }

func fileIDOf(st *unix.Stat_t) fileID { return fileID{dev: uint64(st.Dev), inode: st.Ino} }

// mappedID is what a memory map says about a file. On overlayfs and btrfs it
// differs from what stat says.
type mappedID struct{ dev, inode uint64 }

// Modules returns every mapped ELF file that has an executable mapping, in
// order of address. A file that cannot be read is returned with its Err. The
// error wraps ErrTruncated when a bound was reached; the modules are valid then.
func (p *Process) Modules() ([]Module, error) {
	_, current, err := p.ModulesSince(nil)
	return current, err
}

// ModulesSince returns the modules that have appeared since an earlier look, and
// all of the present ones. A file that was unmapped and mapped again elsewhere
// counts as new. Modules known from before are not opened again, so the call
// is cheap enough to repeat.
func (p *Process) ModulesSince(earlier []Module) (added, current []Module, err error) {
	// A file unmapped between the look at the map and the look at the file
	// would be shown as unreadable; a second look settles it.
	for range 3 {
		var stale bool
		added, current, stale, err = p.modulesSince(earlier)
		if !stale {
			break
		}
	}
	return added, current, err
}

func (p *Process) modulesSince(earlier []Module) (added, current []Module, stale bool, err error) {
	files, cut := p.mappedFiles()
	if cut != nil && !errors.Is(cut, ErrTruncated) {
		return nil, nil, false, cut
	}
	known := make(map[mappedID]*Module, len(earlier))
	for i := range earlier {
		known[mappedID{earlier[i].Dev, earlier[i].Inode}] = &earlier[i]
	}
	find := &finder{p: p}
	for _, f := range files {
		if old := known[f.id]; old != nil && overlaps(old.Mappings, f.mappings) {
			m := *old
			m.Mappings = f.mappings
			current = append(current, m)
			continue
		}
		m, ok, err := find.module(f)
		if err != nil {
			return nil, nil, false, err
		}
		if ok {
			added = append(added, m)
			current = append(current, m)
		}
	}
	if len(files) > 0 && len(current) == 0 {
		// All gone at once: the process has ended meanwhile.
		if err := p.Alive(); err != nil {
			return nil, nil, false, err
		}
	}
	return added, current, find.stale, cut
}

func overlaps(a, b []Mapping) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Executable() && y.Executable() && x.Start < y.End && y.Start < x.End &&
				x.Start-x.Offset == y.Start-y.Offset {
				return true
			}
		}
	}
	return false
}

// mappedFile is a file of the memory map with at least one executable mapping.
type mappedFile struct {
	id       mappedID
	name     string // of the first executable mapping, as the map has it
	mappings []Mapping
}

// mappedFiles groups the memory map by file. The error may wrap ErrTruncated.
func (p *Process) mappedFiles() ([]mappedFile, error) {
	f, err := p.openMemory("maps")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []mappedFile
	index := make(map[mappedID]int)
	code := make(map[mappedID]bool)
	err = parseMaps(f, func(m mapLine) {
		id := mappedID{m.Dev, m.Inode}
		i, ok := index[id]
		if !ok {
			i = len(all)
			index[id] = i
			all = append(all, mappedFile{id: id, name: m.Name})
		}
		all[i].mappings = append(all[i].mappings, m.Mapping)
		if m.Executable() && !code[id] {
			code[id] = true
			all[i].name = m.Name
		}
	})
	if err != nil && !errors.Is(err, ErrTruncated) {
		return nil, p.fail("read the memory map", err)
	}
	files := all[:0]
	for _, f := range all {
		if !code[f.id] {
			continue
		}
		if len(files) == MaxModules {
			return files, fmt.Errorf("memory map has more than %d files with code: %w", MaxModules, ErrTruncated)
		}
		files = append(files, f)
	}
	if len(all) == 0 {
		if err := p.Alive(); err != nil {
			return nil, err
		}
	}
	return files, err
}

// Open opens the module's file for reading, and fails rather than open another
// file. The caller closes it. While it is open, /proc/self/fd/N names the file
// whatever becomes of the process or of the path.
func (m *Module) Open() (*os.File, error) {
	if m.Err != nil {
		return nil, m.Err
	}
	f, id, err := openRegular(m.OpenPath)
	if err != nil {
		if isGone(err) {
			err = fmt.Errorf("%w (the process may have ended)", err)
		}
		return nil, fmt.Errorf("open %q: %w", m.Path, err)
	}
	if id != m.file {
		f.Close()
		return nil, fmt.Errorf("open %q: another file is at that path by now; look at the process's modules again", m.Path)
	}
	return f, nil
}

// Segment is a loadable segment (PT_LOAD) of an ELF file.
type Segment struct {
	Offset uint64 // p_offset
	Vaddr  uint64 // p_vaddr
	Size   uint64 // p_filesz, bytes
	Exec   bool   // PF_X
}

// LoadBias returns what to add to a virtual address of the file to get the
// address in the process: 0 for programs linked at a fixed address. Segments
// are all PT_LOAD headers of the file. It is an error when no executable
// mapping fits a segment, or when the file is loaded at several places (see
// [Module.LoadBiases]).
func (m *Module) LoadBias(segments []Segment) (uint64, error) {
	biases := m.LoadBiases(segments)
	switch len(biases) {
	case 1:
		return biases[0], nil
	case 0:
		return 0, fmt.Errorf("%q: no executable mapping fits its program headers", m.Path)
	}
	return 0, fmt.Errorf("%q is loaded at %d places, so a symbol's address is ambiguous", m.Path, len(biases))
}

// LoadBiases returns the load bias of each place where the file is loaded as a
// program, in order of address. A mapping that merely shows the file, as a
// reader of it may make, fits fewer segments and does not count.
func (m *Module) LoadBiases(segments []Segment) []uint64 {
	var biases []uint64
	best := 0
	tried := make(map[uint64]bool)
	for _, s := range segments {
		if !s.Exec || s.Size == 0 {
			continue
		}
		for _, mapping := range m.Mappings {
			if !mapping.Executable() || !mapping.contains(s.Offset) {
				continue
			}
			bias := mapping.Start + (s.Offset - mapping.Offset) - s.Vaddr
			if tried[bias] {
				continue
			}
			tried[bias] = true
			switch n := m.fits(segments, bias); {
			case n > best:
				best, biases = n, []uint64{bias}
			case n == best:
				biases = append(biases, bias)
			}
		}
	}
	return biases
}

// fits counts the segments that a load bias explains.
func (m *Module) fits(segments []Segment, bias uint64) (n int) {
	for _, s := range segments {
		address := s.Vaddr + bias
		for _, mapping := range m.Mappings {
			if s.Size > 0 && address >= mapping.Start && address < mapping.End &&
				mapping.Offset+(address-mapping.Start) == s.Offset {
				n++
				break
			}
		}
	}
	return n
}
