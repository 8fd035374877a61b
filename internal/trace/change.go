// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"debug/elf"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/target"
)

// debuggerHook is the function that dynamic linkers call for debuggers when
// their list of libraries changes (glibc and musl alike).
const debuggerHook = "_dl_debug_state"

// change is a process whose mapped files may have changed.
type change struct {
	pid   int
	since int64 // of the record that said so
	exec  bool
}

// noteChange remembers a record that calls for another look at a process. The
// look itself is left for after the batch.
func (s *session) noteChange(ev *loader.Event) {
	pid := ev.Who.ViewPID
	if pid == 0 {
		return // a process we cannot name cannot be looked at
	}
	for i := range s.changes {
		if s.changes[i].pid == pid {
			s.changes[i].exec = s.changes[i].exec || ev.Kind == loader.KindExec
			return
		}
	}
	s.changes = append(s.changes, change{pid, ev.Time, ev.Kind == loader.KindExec})
}

// followChanges attaches to what has appeared since the last batch.
func (s *session) followChanges() {
	for _, c := range s.changes {
		t := s.targets[c.pid]
		if t == nil {
			proc, err := target.Open(c.pid)
			if err != nil {
				continue // it has ended; its own record tells
			}
			t = &tracee{proc: proc, done: make(map[fileID]bool)}
			s.targets[c.pid] = t
		}
		s.refresh(t, c)
	}
	s.changes = s.changes[:0]
}

func (s *session) refresh(t *tracee, c change) {
	modules, err := t.proc.Modules()
	if err != nil && modules == nil {
		return
	}
	t.modules = modules
	if c.exec {
		t.watching = false
		t.done = make(map[fileID]bool)
	}
	before := s.attached.sites
	if err := s.attachTo(t); err != nil {
		s.o.Message(fmt.Sprintf("warning: process %d: %v", c.pid, err))
		return
	}
	if n := s.attached.sites - before; n > 0 {
		s.o.Message(fmt.Sprintf("attached %d more sites in process %d, %s after they were mapped",
			n, c.pid, time.Duration(monotonic()-c.since).Round(10*time.Microsecond)))
	}
	s.tellWarnings()
}

// watchLibraries makes the process's dynamic linker tell of libraries that are
// loaded later. A program without one has none to load.
func (s *session) watchLibraries(t *tracee) {
	if t.watching {
		return
	}
	for i := range t.modules {
		m := &t.modules[i]
		if m.Err != nil || !isLinker(m.Path) {
			continue
		}
		h, err := m.Open()
		if err != nil {
			continue
		}
		if offset, ok := functionOffset(h, debuggerHook); ok {
			pid := t.proc.PID
			path := fmt.Sprintf("/proc/self/fd/%d", h.Fd())
			if err := s.tracer.WatchLibraries(pid, path, offset); err != nil && t.proc.Alive() == nil {
				s.o.Message(fmt.Sprintf("warning: libraries that process %d loads from now on will not be seen: %v", pid, err))
			}
			t.watching = true
		}
		h.Close()
	}
}

func isLinker(path string) bool {
	base := filepath.Base(path)
	return strings.HasPrefix(base, "ld-") || strings.HasPrefix(base, "ld.so") || strings.HasPrefix(base, "ld64.so")
}

// functionOffset returns the file offset of an exported function.
func functionOffset(r interface {
	ReadAt([]byte, int64) (int, error)
}, name string) (uint64, bool) {
	f, err := elf.NewFile(r)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, false
	}
	for _, sym := range symbols {
		if sym.Name != name || sym.Section == elf.SHN_UNDEF {
			continue
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && sym.Value >= p.Vaddr && sym.Value < p.Vaddr+p.Filesz {
				return sym.Value - p.Vaddr + p.Off, true
			}
		}
	}
	return 0, false
}
