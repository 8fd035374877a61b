// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"debug/elf"
	"fmt"
	"os"
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
	// replaced: the thread that ran exec was not the main one and has taken its
	// place; probes that were attached for the process are gone with the old.
	replaced bool
}

// noteChange remembers a record that calls for another look at a process. The
// look itself is left for after the batch.
func (s *session) noteChange(ev *loader.Event) {
	c := change{pid: ev.Who.ViewPID, since: ev.Time, exec: ev.Kind == loader.KindExec}
	if c.pid == 0 {
		return // a process we cannot name cannot be looked at
	}
	c.replaced = c.exec && ev.Aux != ev.TID
	for i := range s.changes {
		if old := &s.changes[i]; old.pid == c.pid {
			old.exec, old.replaced = old.exec || c.exec, old.replaced || c.replaced
			return
		}
	}
	s.changes = append(s.changes, c)
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
			t = &tracee{proc: proc, reach: newReach()}
			s.targets[c.pid] = t
		}
		s.refresh(t, c)
	}
	s.changes = s.changes[:0]
}

func (s *session) refresh(t *tracee, c change) {
	earlier := t.modules
	if c.exec {
		earlier, t.starting = nil, true
		_ = t.proc.Refresh() // if it has ended, the next line finds out
	}
	added, modules, err := t.proc.ModulesSince(earlier)
	if err != nil && modules == nil {
		return
	}
	if c.replaced {
		t.reach = newReach()
	}
	t.modules = modules
	if len(added) == 0 {
		return // unloaded, or what look-ahead has attached already
	}
	before := s.attached.sites
	if err := s.attachTo(t); err != nil {
		s.o.Message(fmt.Sprintf("warning: process %d: %v", c.pid, err))
		return
	}
	t.starting = t.starting && c.exec
	if n := s.attached.sites - before; n > 0 {
		s.toldLate(c, n, time.Duration(monotonic()-c.since))
	}
	s.tellWarnings()
}

// toldLate tells of sites that were attached while their process ran.
func (s *session) toldLate(c change, sites int, after time.Duration) {
	what, l := "a library was mapped", &s.lateLibraries
	if c.exec {
		what, l = "it ran another program", &s.lateExecs
	}
	l.add(after)
	s.o.Message(fmt.Sprintf("attached %d more sites in process %d, %v after %s", sites, c.pid, roundTime(after), what))
}

// watchLibraries makes the process's dynamic linker tell of libraries that are
// loaded later. A program without one has none to load.
func (s *session) watchLibraries(t *tracee) {
	reach, pid := s.reachOf(t)
	for i := range t.modules {
		m := &t.modules[i]
		if m.Err != nil || !isLinker(m.Path) {
			continue
		}
		h, err := m.Open()
		if err != nil {
			continue
		}
		if id, err := identify(h); err == nil && !reach.linkers[id] {
			reach.linkers[id] = true
			s.watchLinker(t, h, pid)
		}
		h.Close()
	}
}

func (s *session) watchLinker(t *tracee, h *os.File, pid int) {
	offset, ok := functionOffset(h, debuggerHook)
	if !ok {
		return
	}
	err := s.tracer.WatchLibraries(pid, fmt.Sprintf("/proc/self/fd/%d", h.Fd()), offset)
	if err != nil && t.proc.Alive() == nil {
		s.o.Message(fmt.Sprintf("warning: libraries that process %d loads from now on will not be seen: %v", t.proc.PID, err))
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
