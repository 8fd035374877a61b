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
	"time"

	"github.com/phasetrace/phasetrace/internal/event"

	"github.com/phasetrace/phasetrace/internal/clock"

	"github.com/phasetrace/phasetrace/internal/process"
)

// debuggerHook is the function that dynamic linkers call for debuggers when
// their list of libraries changes (glibc and musl alike).
const debuggerHook = "_dl_debug_state"

// change is a process whose mapped files may have changed.
type change struct {
	pid   int
	since int64 // of the record that said so
	exec  bool
	// replaced: the thread that ran exec was not the main one and has taken its
	// place; probes that were attached for the process are gone with the old.
	replaced bool
	file     event.File // of an exec: to let the process go on
}

// noteChange remembers an event that calls for another look at a process. The
// look itself is left for after the batch.
func (s *session) noteChange(ev event.Event) {
	var c change
	switch ev := ev.(type) {
	case *event.Library:
		c = change{pid: ev.Who.ViewPID, since: ev.Time}
	case *event.Exec:
		c = change{pid: ev.Who.ViewPID, since: ev.Time, exec: true, replaced: ev.FormerTID != ev.TID, file: ev.File}
	}
	if c.pid == 0 {
		return // nothing to look at, or a process we cannot name
	}
	for i := range s.changes {
		if old := &s.changes[i]; old.pid == c.pid {
			if c.exec {
				c.replaced = c.replaced || old.replaced
				*old = c // what came before is gone
			}
			return
		}
	}
	s.changes = append(s.changes, c)
}

// followChanges attaches to what has appeared since the last batch.
func (s *session) followChanges() {
	for _, c := range s.changes {
		looked, err := s.followChange(c)
		if err != nil {
			s.o.Message(fmt.Sprintf("warning: process %d: %v", c.pid, err))
		}
		if c.exec {
			s.release(c, looked)
		}
	}
	s.changes = s.changes[:0]
	s.tellWarnings()
}

// maxExecFiles bounds the files that are known to have been looked at.
const maxExecFiles = 1 << 16

// release lets a process go on that ran exec. looked: its file has been looked
// at; if it has not, now or earlier, its markers may have been missed.
func (s *session) release(c change, looked bool) {
	switch known := s.execFiles[c.file]; {
	case looked && !known && len(s.execFiles) < maxExecFiles:
		s.execFiles[c.file] = true
	case !looked && !known:
		s.missedExecs++
	}
	if err := s.tracer.ReleaseExec(c.pid, c.file, looked); err != nil {
		s.o.Message("warning: " + err.Error())
	}
}

// followChange attaches to what a process has mapped now. looked: its files
// were read, which is too late when it has ended; then its own record tells.
func (s *session) followChange(c change) (looked bool, err error) {
	t := s.targets[c.pid]
	if t == nil {
		proc, err := process.Open(c.pid)
		if err != nil {
			return false, nil
		}
		t = &attachee{proc: proc, reach: newReach()}
		s.targets[c.pid] = t
	}
	earlier := t.modules
	if c.exec {
		earlier, t.starting = nil, true
		_ = t.proc.Refresh() // if it has ended, the next line finds out
	}
	added, modules, err := t.proc.ModulesSince(earlier)
	if err != nil && modules == nil || c.exec && len(modules) == 0 {
		return false, nil // it ends: what it had mapped is gone
	}
	if c.replaced {
		t.reach = newReach()
		s.tracer.DetachProcess(c.pid)
	}
	t.modules = modules
	if len(added) == 0 {
		return true, nil // only unloaded
	}
	err = s.attachChange(t, c)
	return t.unread == 0 || t.proc.Alive() == nil, err
}

// attachChange attaches to what a process has mapped now, and tells of it.
func (s *session) attachChange(t *attachee, c change) error {
	before := s.attached.sites
	err := s.attachTo(t)
	t.starting = t.starting && c.exec
	n := s.attached.sites - before
	if n == 0 {
		return err
	}
	after := time.Duration(clock.Monotonic() - c.since)
	what := fmt.Sprintf("attached %d more sites in process %d, ", n, c.pid)
	switch {
	case c.exec && s.tracer.Waiting(c.pid):
		what += fmt.Sprintf("which waited %v for it at its first instruction", roundTime(after))
	case c.exec:
		what += fmt.Sprintf("%v after it ran another program", roundTime(after))
		s.lateExecs.add(after)
	default:
		what += fmt.Sprintf("%v after a library was mapped", roundTime(after))
		s.lateLibraries.add(after)
	}
	s.o.Message(what)
	return err
}

// linkers calls with the dynamic linkers that a process has mapped, opened for
// the time of the call.
func (t *attachee) linkers(with func(*os.File, fileID)) {
	for i := range t.modules {
		m := &t.modules[i]
		if m.Err != nil || !isLinker(m.Path) {
			continue
		}
		h, err := m.Open()
		if err != nil {
			continue
		}
		if id, err := identify(h); err == nil {
			with(h, id)
		}
		h.Close()
	}
}

// watchLibraries makes the process's dynamic linker tell of libraries that are
// loaded later, and hold programs that are run later. A program without one
// has no library to load.
func (s *session) watchLibraries(t *attachee) {
	reach, pid := s.reachOf(t)
	t.linkers(func(h *os.File, id fileID) {
		if reach.linkers[id] && s.holding[id] {
			return
		}
		err := s.watchLinker(h, pid, !reach.linkers[id], !s.holding[id])
		reach.linkers[id], s.holding[id] = true, true
		if err != nil && t.proc.Alive() == nil {
			s.o.Message(fmt.Sprintf("warning: programs and libraries that process %d runs from now on may be seen late or not at all: %v", t.proc.PID, err))
		}
	})
}

func (s *session) watchLinker(h *os.File, pid int, libraries, execs bool) error {
	f, err := readLinker(h)
	if err != nil {
		return fmt.Errorf("read the dynamic linker: %w", err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", h.Fd())
	var errs []error
	if offset, ok := functionOffset(f, debuggerHook); ok && libraries {
		errs = append(errs, s.tracer.WatchLibraries(pid, path, offset))
	}
	if offset, ok := fileOffset(f, f.Entry); ok && execs {
		errs = append(errs, s.tracer.HoldExecs(path, offset))
	}
	return errors.Join(errs...)
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
