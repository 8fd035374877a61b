// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/semaphore"
)

// postpone leaves sites of a file for later: it is not relocated yet. mapped says
// whether the process has it mapped.
func (st *settler) postpone(t *target, f openFile, sites []probe.Site) (mapped bool, err error) {
	st.count.postponed++
	if err := st.tracer.Prepare(sites); err != nil {
		return false, err // the process will wait for the rest
	}
	if f.module == nil {
		return false, nil
	}
	st.awaitStart(t, f)
	return true, nil
}

// awaitStart leaves a file of a process for when it runs its first code.
func (st *settler) awaitStart(t *target, f openFile) {
	st.watchStart(f)
	// Else the process may have passed its start by the time it was watched.
	before := f.semaphores.since < t.counters.looked
	if f.semaphores.start != nil && st.tracer.HoldsExecs() && (before || st.stopped(t)) {
		t.counters.expect(f.file)
	}
}

// atStart prepares for a program that has run exec, or that has reached a file's
// first code: the starts that are still to come.
func (st *settler) atStart(t *target, v *view, c change) {
	if c.exec {
		t.counters.end(&st.report.shortfall)
		t.counters = counters{timed: t.counters.timed}
	}
	if c.start {
		clear(t.counters.ahead)
		if !slices.ContainsFunc(v.open, func(f openFile) bool { return f.module != nil && f.semaphores.start != nil }) {
			st.report.shortfall.off++ // it is unmapped already
		}
		return
	}
	for _, f := range v.open {
		if s := &f.semaphores; c.exec && st.tracer.HoldsExecs() && f.module != nil && s.start != nil && s.since < c.since {
			t.counters.expect(f.file)
		}
	}
}

// stopped reports whether a process waits for us.
func (st *settler) stopped(t *target) bool {
	return t.spawning || st.holds.waits(t.pid)
}

// watchStart makes targets wait at a file's first code.
func (st *settler) watchStart(f openFile) {
	if f.semaphores.start != nil || f.elf.Start == 0 {
		return
	}
	g := f.guard.Load()
	if g == nil {
		return // it is being written to
	}
	at, err := g.attach(nil, func() (*loader.Attachment, error) { return st.tracer.WatchStart(f.attachPath(), f.elf.Start) })
	if errors.Is(err, errGivenWay) {
		return
	}
	if err != nil {
		st.report.warn(fmt.Sprintf("%s: its first markers may be missed: %v", f.path, err))
		return
	}
	f.semaphores.start, f.semaphores.since = at, clock.Monotonic()
}

// unwatchStart is for a file that nobody uses any more.
func (st *settler) unwatchStart(f *file) {
	if at := f.semaphores.start; at != nil {
		st.keeper.unhook(hook{at, f.guard.Load()})
		f.semaphores.start = nil
	}
}

// tellOff tells, once, that markers of a file stay off in a process.
func (st *settler) tellOff(t *target, f openFile, why semaphore.State) {
	if t.counters.told[f.file] {
		return
	}
	if t.counters.told == nil {
		t.counters.told = make(map[*file]bool)
	}
	t.counters.told[f.file] = true
	st.report.shortfall.off++
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
	st.report.warn(fmt.Sprintf("%s in process %d: %s", f.path, t.pid, what))
}
