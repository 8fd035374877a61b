// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/semaphore"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Where Linux would raise a file's semaphores in another place than the process
// reads them, because the file is not relocated yet (package semaphore says
// why), attaching waits: for the file's first code, at which the process waits
// in turn, and for those that cannot or do not get there by looking again. A
// file that is attached for all processes, or for one that executes it again or
// loads it twice, is mapped without anybody being asked; then what Linux has
// counted in the wrong place is moved to the right one.

// semaphores is what is known of a file's semaphores.
type semaphores struct {
	sites    []semaphore.Site   // those that have one
	others   map[uint64]bool    // offsets where Linux does not raise it, for another tracer's sake
	shadowed bool               // one is, see usdt.Site
	twice    bool               // a process has had the file mapped more than once
	start    *loader.Attachment // that makes processes tell when they run its first code
	since    int64              // when that was attached
	mapped   mappedID           // as memory maps name the file; zero: nobody had it mapped
}

// mappedID names a file as memory maps do, which on some file systems is not
// what a look at the file says.
type mappedID struct{ dev, inode uint64 }

func semaphoresOf(f *usdt.File) (out semaphores) {
	for i := range f.Sites {
		if s := &f.Sites[i]; s.RefCtr != 0 {
			out.sites = append(out.sites, semaphore.Site{Location: s.Location, Offset: s.Offset, Semaphore: s.Semaphore, RefCtr: s.RefCtr})
			out.shadowed = out.shadowed || s.Shadowed
		}
	}
	return out
}

// attached notes which of the sites that have just been attached are among others.
func (s *semaphores) attached(sites []probe.Site, bare map[uint32]bool) {
	for _, p := range sites {
		switch {
		case !bare[p.ID]:
			delete(s.others, p.Offset)
		case s.others == nil:
			s.others = map[uint64]bool{p.Offset: true}
		default:
			s.others[p.Offset] = true
		}
	}
}

// counted returns the sites for which Linux raises their semaphores.
func (s *semaphores) counted() []semaphore.Site {
	if len(s.others) == 0 {
		return s.sites
	}
	return slices.DeleteFunc(slices.Clone(s.sites), func(site semaphore.Site) bool { return s.others[site.Offset] })
}

// misplaced reports whether Linux may have counted in the wrong place.
func (s *semaphores) misplaced() bool { return s.shadowed || s.twice }

// counters is what is known of a process's semaphores.
type counters struct {
	looked int64          // when the process was last looked at
	since  int64          // when files were found that are to be looked at again, 0: none
	off    bool           // the markers of one of these are off until then
	timed  bool           // somebody is going to look
	ahead  map[*file]bool // files whose first code is still to run, and will tell
	told   map[*file]bool // files that were told to stay off
	moved  bool           // the last look has raised semaphores
	passes bool           // every process that runs its files has to be looked at
}

// end is for a program that is over.
func (c *counters) end(s *shortfall) {
	if c.since != 0 && c.off && len(c.told) == 0 {
		s.off++
	}
}

// raisable reports whether attaching to sites of a file raises their semaphores
// where the process reads them.
func (f openFile) raisable(todo []probe.Site) bool {
	if !slices.ContainsFunc(todo, func(s probe.Site) bool { return s.RefCtr != 0 }) {
		return true
	}
	switch semaphore.Look(f.mappings(), f.semaphores.sites) {
	case semaphore.Unmapped:
		return !f.semaphores.shadowed
	case semaphore.Elsewhere:
		return false
	}
	return true
}

// mappings are those of the file in the process, as of the last look.
func (f openFile) mappings() []process.Mapping {
	if f.module == nil {
		return nil
	}
	return f.module.Mappings
}

// postpone leaves sites of a file for later: it is not relocated yet. mapped says
// whether the process has it mapped.
func (w *watcher) postpone(t *target, f openFile, sites []probe.Site) (mapped bool, err error) {
	w.attached.postponed++
	if err := w.tracer.Prepare(sites); err != nil {
		return false, err // the process will wait for the rest
	}
	if f.module == nil {
		return false, nil
	}
	w.awaitStart(t, f)
	return true, nil
}

// awaitStart leaves a file of a process for when it runs its first code.
func (w *watcher) awaitStart(t *target, f openFile) {
	w.watchStart(f)
	// Else the process may have passed its start by the time it was watched.
	before := f.semaphores.since < t.counters.looked
	if f.semaphores.start != nil && w.tracer.HoldsExecs() && (before || w.stopped(t)) {
		t.counters.expect(f.file)
	}
}

// expect notes that a file is yet to run its first code, and will tell.
func (c *counters) expect(f *file) {
	if c.ahead == nil {
		c.ahead = make(map[*file]bool)
	}
	c.ahead[f] = true
}

// atStart prepares for a program that has run exec, or that has reached a file's
// first code: the starts that are still to come.
func (w *watcher) atStart(t *target, v *view, c change) {
	if c.exec {
		t.counters.end(&w.shortfall)
		t.counters = counters{timed: t.counters.timed}
	}
	if c.start {
		clear(t.counters.ahead)
		if !slices.ContainsFunc(v.open, func(f openFile) bool { return f.module != nil && f.semaphores.start != nil }) {
			w.shortfall.off++ // it is unmapped already
		}
		return
	}
	for _, f := range v.open {
		if s := &f.semaphores; c.exec && w.tracer.HoldsExecs() && f.module != nil && s.start != nil && s.since < c.since {
			t.counters.expect(f.file)
		}
	}
}

// stopped reports whether a process waits for us.
func (w *watcher) stopped(t *target) bool {
	return t.spawning || w.waits(t.pid)
}

// watchStart makes targets wait at a file's first code.
func (w *watcher) watchStart(f openFile) {
	if f.semaphores.start != nil || f.elf.Start == 0 {
		return
	}
	at, err := w.tracer.WatchStart(f.attachPath(), f.elf.Start)
	if err != nil {
		w.plan.warnings.add(fmt.Sprintf("%s: its first markers may be missed: %v", f.path, err))
		return
	}
	f.semaphores.start, f.semaphores.since = at, clock.Monotonic()
}

// unwatchStart is for a file that nobody uses any more.
func (w *watcher) unwatchStart(f *file) {
	if at := f.semaphores.start; at != nil {
		w.tracer.Release(at, nil)
		f.semaphores.start = nil
	}
}

// tellOff tells, once, that markers of a file stay off in a process.
func (w *watcher) tellOff(t *target, f openFile, why semaphore.State) {
	if t.counters.told[f.file] {
		return
	}
	if t.counters.told == nil {
		t.counters.told = make(map[*file]bool)
	}
	t.counters.told[f.file] = true
	w.shortfall.off++
	what := "the kernel has not enabled all of its markers: please report this"
	switch why {
	case semaphore.Twice:
		what = "it is loaded more than once (dlmopen), and the kernel enables the markers of one copy only: phases of the others are missing"
	case semaphore.Nowhere:
		what = "the semaphores of its markers lie in memory that cannot be written: the kernel cannot enable them"
	case semaphore.Elsewhere:
		what = "its data is not write-protected after relocation (RELRO), so that the kernel cannot enable its markers yet: " +
			"link it with GNU ld or with -Wl,-z,separate-loadable-segments"
	}
	w.plan.warnings.add(fmt.Sprintf("%s in process %d: %s", f.path, t.pid, what))
}
