// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// MaxModules bounds the files looked at per process.
const MaxModules = 1 << 14

// Module is an ELF file that a process has mapped with at least one executable
// mapping: its executable, an interpreter, a library.
type Module struct {
	Path    string // as the target names it, without " (deleted)"; may hold any bytes but 0
	Deleted bool   // no longer in the file system under that name
	Dev     uint64 // device as in the memory map (unix.Mkdev); stat may show another
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

// Copies returns how often the process has the code of the file mapped: more
// than once when it has loaded the file anew, as with dlmopen.
func (m *Module) Copies() int {
	var bases []uint64
	for _, x := range m.Mappings {
		if base := x.Start - x.Offset; x.Executable() && !slices.Contains(bases, base) {
			bases = append(bases, base)
		}
	}
	return len(bases)
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
	// A file that was unmapped between reading the map and opening the file would
	// seem unreadable; a second look settles it.
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

// Module returns the module of a file that memory maps show like this, as it is
// mapped now; false when it is not, or not with code.
func (p *Process) Module(dev, inode uint64) (m Module, ok bool, err error) {
	files, err := p.mappedFiles()
	for _, f := range files {
		if f.id == (mappedID{dev, inode}) {
			return (&finder{p: p}).module(f)
		}
	}
	if errors.Is(err, ErrTruncated) {
		err = nil
	}
	return Module{}, false, err
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
		return nil, fmt.Errorf("open %q: another file is at that path now; list the process's modules again", m.Path)
	}
	return f, nil
}
