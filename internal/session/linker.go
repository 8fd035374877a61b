// SPDX-License-Identifier: Apache-2.0

package session

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
)

// debuggerHook is the function that dynamic linkers call for debuggers when
// their list of libraries changes (glibc and musl alike).
const debuggerHook = "_dl_debug_state"

// linker is a dynamic linker that a process has mapped, held open.
type linker struct {
	id     fileID
	handle *os.File
}

// linkersOf opens the dynamic linkers among modules.
func linkersOf(modules []process.Module) []linker {
	var out []linker
	for i := range modules {
		m := &modules[i]
		if m.Err != nil || !isLinker(m.Path) {
			continue
		}
		h, err := m.Open()
		if err != nil {
			continue
		}
		id, err := identify(h)
		if err != nil {
			h.Close()
			continue
		}
		out = append(out, linker{id, h})
	}
	return out
}

// watchLibraries makes the process's dynamic linker tell of libraries that are
// loaded later, and hold programs that are run later. A program without one
// has no library to load.
func (w *watcher) watchLibraries(t *target, linkers []linker) {
	reach, pid := w.reachOf(t)
	for _, l := range linkers {
		_, watched := reach.linkers[l.id]
		if watched && w.holding[l.id] {
			continue
		}
		at, err := w.watchLinker(l, pid, !watched, !w.holding[l.id])
		if !watched {
			reach.linkers[l.id] = at
		}
		w.holding[l.id] = true
		if err != nil && !process.Gone(t.pid, 0) {
			w.say("warning: programs and libraries that process %d runs from now on may be seen late or not at all: %v", t.pid, err)
		}
	}
}

func (w *watcher) watchLinker(l linker, pid int, libraries, execs bool) (watch *loader.Attachment, err error) {
	f, err := readLinker(l.handle)
	if err != nil {
		return nil, fmt.Errorf("read the dynamic linker: %w", err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", l.handle.Fd())
	var errs []error
	if offset, ok := functionOffset(f, debuggerHook); ok && libraries {
		watch, err = w.tracer.WatchLibraries(pid, path, offset)
		errs = append(errs, err)
	}
	if offset, ok := fileOffset(f, f.Entry); ok && execs {
		_, err := w.tracer.HoldExecs(path, offset)
		errs = append(errs, err)
	}
	return watch, errors.Join(errs...)
}

// Bounds of a dynamic linker. What debug/elf takes for one is bounded by their
// product, and any file can have a linker's name.
const (
	maxLinkerBytes    = 4 << 20
	maxLinkerSections = 64
)

// readLinker reads a file that may be anything.
func readLinker(h *os.File) (f *elf.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed: %v", r)
		}
	}()
	st, err := h.Stat()
	if err != nil {
		return nil, err
	}
	var header elf.Header64
	if err := binary.Read(io.NewSectionReader(h, 0, st.Size()), binary.LittleEndian, &header); err != nil {
		return nil, err
	}
	if st.Size() > maxLinkerBytes || header.Shnum > maxLinkerSections || header.Shnum == 0 && header.Shoff != 0 {
		return nil, fmt.Errorf("larger than a dynamic linker: %d bytes, %d sections", st.Size(), header.Shnum)
	}
	return elf.NewFile(h)
}

func isLinker(path string) bool {
	base := filepath.Base(path)
	return strings.HasPrefix(base, "ld-") || strings.HasPrefix(base, "ld.so") || strings.HasPrefix(base, "ld64.so")
}

// functionOffset returns the file offset of an exported function.
func functionOffset(f *elf.File, name string) (uint64, bool) {
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, false
	}
	for _, sym := range symbols {
		if sym.Name == name && sym.Section != elf.SHN_UNDEF {
			return fileOffset(f, sym.Value)
		}
	}
	return 0, false
}

// fileOffset returns where in the file an address of it lies.
func fileOffset(f *elf.File, address uint64) (uint64, bool) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && address >= p.Vaddr && address < p.Vaddr+p.Filesz {
			return address - p.Vaddr + p.Off, true
		}
	}
	return 0, false
}
