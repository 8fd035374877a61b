// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
)

// follower looks at processes whose files may have changed, and lets go on those
// that wait for it.
type follower struct {
	core        *core
	costs       *costs
	ctx         context.Context // ends looks
	plan        *plan
	tracer      *loader.Tracer
	report      *reporter
	targets     *targets
	executables *executables
	looker      *looker
	holds       *holds
	settler     *settler
	attacher    *attacher
	releaser    *releaser
	missed      *missed
	postponed   *postponed
	wanted      *wanted
	post        func(func()) // to the watcher's goroutine
	changes     changes
}

// followAll looks at what has changed. Programs that run the same file, as the
// ranks of a job do, wait for one look: what is attached is attached for all.
func (fl *follower) followAll() {
	for first, same, ok := fl.changes.next(); ok; first, same, ok = fl.changes.next() {
		seen := fl.followOne(first)
		for _, c := range same {
			if c.halted || !seen {
				continue
			}
			// It uses the CPU that looking at the others needs.
			fl.warnOf(c.pid, fl.holds.letRun(c, true))
		}
		for _, c := range same {
			fl.followOne(c)
		}
		fl.report.flush()
	}
}

// followOne looks at one process, and reports whether it was seen, and with it
// the others that run the same file.
func (fl *follower) followOne(c change) bool {
	if fl.stranger(c) {
		return false
	}
	seen, err := fl.follow(c)
	if errors.Is(err, errLookTime) && c.tries < maxTries {
		err = fmt.Errorf("%w; looking again", err)
		fl.tryAgain(c)
	}
	fl.warnOf(c.pid, err)
	return seen
}

const (
	// maxTries bounds the looks at a process that take too long before it is left
	// alone until something changes: each may leave a call behind that hangs.
	maxTries = 3
	// tryWait is how long the first of them is waited for; each waits twice as long
	// as the one before.
	tryWait = 2 * lookTime
)

// tryAgain looks at a process later, unless something changes before: then that
// look sees everything.
func (fl *follower) tryAgain(c change) {
	t := fl.targets.byPID[c.pid]
	if t == nil || c.rewritten != nil { // the file's other processes wait as well: see followPending
		return
	}
	wait := tryWait << c.tries
	c.tries, c.halted, c.start, c.again = c.tries+1, false, false, c.start || c.again
	t.retry = &c
	time.AfterFunc(wait, func() {
		fl.post(func() {
			if fl.targets.byPID[c.pid] == t && t.retry == &c {
				fl.followOne(c)
				fl.report.flush()
			}
		})
	})
}

// warnOf warns of what went wrong at a process, if anything did.
func (fl *follower) warnOf(pid int, err error) {
	if err != nil {
		fl.report.warn(fmt.Sprintf("process %d: %v", pid, err))
	}
}

// leaveChanges counts the programs that nobody gets to look at any more, where
// that is not done with what is attached.
func (fl *follower) leaveChanges() {
	for first, same, ok := fl.changes.next(); ok; first, same, ok = fl.changes.next() {
		for _, c := range append(same, first) {
			if t := fl.targets.byPID[c.pid]; t != nil && t.counters.passes && (c.exec || c.start) {
				fl.report.shortfall.off += 1 + len(c.overtaken)
			}
			if !process.Gone(c.pid, 0) {
				continue
			}
			if fl.missed.endedWith(c); c.exec && fl.executables.known[c.file] == 0 {
				fl.report.shortfall.missedExecs++
			}
		}
	}
}

// follow attaches to what has appeared in a process, and lets it go on if it
// waits for that. seen is as in followOne.
func (fl *follower) follow(c change) (seen bool, err error) {
	seen, ended, err := fl.followChange(c)
	if ended {
		fl.missed.endedWith(c)
	}
	if !seen && err == nil && c.exec && fl.executables.known[c.file] == 0 {
		fl.report.shortfall.missedExecs++ // it has ended
	}
	switch {
	case c.exec:
		err = errors.Join(err, fl.releaseExec(c, seen))
	case c.start:
		if !seen {
			fl.report.shortfall.off++
		}
		err = errors.Join(err, fl.holds.letRun(c, seen))
	}
	t := fl.targets.byPID[c.pid]
	return seen && (t == nil || !t.direct), err
}

// releaseExec lets a process go on that ran exec. seen: its file has been looked
// at.
func (fl *follower) releaseExec(c change, seen bool) error {
	t := fl.targets.byPID[c.pid]
	if seen && t != nil && t.direct { // the file is the linker's, and says nothing of the program's
		return fl.holds.letRun(c, false)
	}
	since, known := fl.executables.known[c.file]
	switch {
	case seen && t != nil && t.counters.passes && len(fl.executables.passing) < maxKnown:
		fl.executables.passing[c.file] = true // the next that runs it may be missed too
	case known && since > c.since && !fl.holds.waits(c.pid): // attached for another, and too late for this one
		fl.report.shortfall.lateExecs.add(elapsed(c.since, since))
	case seen && !known && len(fl.executables.known) < maxKnown:
		fl.executables.known[c.file] = clock.Monotonic()
	}
	for _, f := range c.overtaken {
		if fl.executables.passing[f] {
			fl.report.shortfall.missedExecs++
		}
	}
	if seen && t != nil {
		for f := range t.files {
			if f.execs == nil {
				f.execs = make(map[event.File]bool)
			}
			f.execs[c.file] = true
		}
	}
	return fl.holds.letRun(c, seen)
}

// followChange attaches to what a process has mapped now. seen: its files were
// read. ended: it has ended, or is about to, before they could be.
func (fl *follower) followChange(c change) (seen, ended bool, err error) {
	t, proc, err := fl.openChanged(c)
	if err != nil {
		err = fl.notLooked(err)
		return false, err == nil && process.Gone(c.pid, 0), err
	}
	if t.proc == nil {
		defer proc.Close()
	}
	t.retry = nil
	r := request{proc: proc, earlier: t.modules, starting: c.exec, ahead: aheadTime, also: c.rewritten, added: c.added, addedBy: fl.core.unix(c.added.until)}
	if c.exec {
		r.earlier, t.modules = nil, nil
	}
	ctx, cancel := context.WithTimeout(fl.ctx, lookTime)
	defer cancel()
	v, err := fl.looker.look(ctx, r)
	if err != nil {
		err = fl.notLooked(err)
		return false, err == nil && process.Gone(c.pid, 0), err
	}
	defer v.close()
	if !c.exec && v.replaced && !t.execDue {
		t.execDue = true // the event of that exec is on its way, and its program waits for it
		return true, false, nil
	}
	fl.core.described(c.pid, v.who)
	if v.gone {
		return false, true, nil
	}
	t.execDue = false
	err = fl.attachSeen(t, v, c)
	over := process.Gone(c.pid, proc.StartTime)
	seen = !v.later && (t.unread == 0 || !over)
	return seen, !seen && over && err == nil, err
}

// attachSeen attaches to what a look has found, and tells of what it came too late
// for.
func (fl *follower) attachSeen(t *target, v *view, c change) error {
	if c.replaced {
		fl.releaser.detachAll(t)
	}
	fl.settler.atStart(t, v, c)
	fl.missed.shares(t, v.proc)
	passed := fl.missed.passed(t, v)
	err := fl.attachChange(t, v, c)
	fl.missed.tellPassed(passed, v)
	return err
}

// notLooked counts a look at a process that failed, and returns why; nil when the
// process has ended.
func (fl *follower) notLooked(err error) error {
	switch {
	case errors.Is(err, process.ErrNoProcess), errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, errLookTime):
		fl.report.shortfall.slowLooks++
	default:
		fl.report.shortfall.failedLooks++
	}
	return fmt.Errorf("look for markers: %w: those in its files are not traced", withRemedy(err))
}

// openChanged returns the target of a change, and a handle on it.
func (fl *follower) openChanged(c change) (*target, *process.Process, error) {
	t := fl.targets.byPID[c.pid]
	if t != nil && t.proc != nil {
		return t, t.proc, nil
	}
	proc, err := process.Open(c.pid)
	if err != nil {
		return nil, nil, err
	}
	if t == nil {
		t = &target{pid: c.pid, started: proc.StartTime, reach: newReach()}
		fl.targets.byPID[c.pid] = t
	}
	return t, proc, nil
}

// attachChange attaches to what a process has mapped now, and reports it.
func (fl *follower) attachChange(t *target, v *view, c change) error {
	before, rewritten := fl.attacher.count.sites, c.rewritten
	files := fl.targets.attachedOften(t, v)
	if rewritten == nil {
		rewritten = fl.postponed.of(v.open)
	}
	err := fl.attacher.attachTo(t, v)
	n, after := fl.attacher.count.sites-before, elapsed(c.since, clock.Monotonic())
	if c.returns {
		return err // the stream tells
	}
	if n == 0 {
		if (t.counters.moved || c.start && fl.tracer.HoldsExecs()) && !fl.holds.waitsStill(c) {
			fl.report.shortfall.lateStarts.add(after)
		}
		return err
	}
	what := fmt.Sprintf("attached %d more sites in process %d, ", n, c.pid)
	switch waits := fl.holds.waitsStill(c); {
	case waits && c.exec:
		what += fmt.Sprintf("which waited %v for it at its first instruction", roundTime(after))
	case waits:
		what += fmt.Sprintf("which waited %v for it at a file's first instruction", roundTime(after))
	case rewritten != nil && !v.later:
		after = elapsed(rewritten.since, clock.Monotonic())
		what += fmt.Sprintf("%v after %s began to be written to", roundTime(after), rewritten.path)
		fl.report.shortfall.overwritten.worst = max(fl.report.shortfall.overwritten.worst, after)
	case v.added == 0 && len(v.loaded) > 0:
		what = fmt.Sprintf("attached %d more sites in libraries that process %d may load again", n, c.pid)
	case c.start || c.again:
		what += fmt.Sprintf("%v after it started a file", roundTime(after))
		fl.report.shortfall.lateStarts.add(after)
	case c.exec:
		what += fmt.Sprintf("%v after it ran another program", roundTime(after))
		fl.report.shortfall.lateExecs.add(after)
	default:
		what += fl.report.lateLibrary(fl.targets.attachedSince(t, v, files), after)
	}
	fl.report.say("%s", what)
	return err
}

// followPending looks at the processes that use a file which can be attached to
// again. What it leaves in the file's list could not be looked at in time.
func (fl *follower) followPending(p *pending) {
	for _, pid := range slices.Sorted(maps.Keys(p.pids)) {
		slow := fl.report.shortfall.slowLooks
		if fl.targets.byPID[pid] != nil {
			fl.followOne(change{pid: pid, since: p.since, rewritten: p, tries: p.tries})
		}
		if fl.report.shortfall.slowLooks == slow {
			delete(p.pids, pid)
		}
	}
	fl.report.flush()
}

// roundTime rounds to what a person can use.
func roundTime(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// bringBack attaches to what a budget had left out of a process.
func (fl *follower) bringBack(t *target) {
	if fl.holds.waits(t.pid) {
		return // it has told, which comes next
	}
	fl.followOne(change{pid: t.pid, since: clock.Monotonic(), again: true, returns: true})
}

// lookAgain looks at a process whose semaphores are not where they should be.
func (fl *follower) lookAgain(t *target) {
	if fl.holds.waits(t.pid) {
		fl.settler.lookAgainSoon(t) // it has told, which comes next
		return
	}
	clear(t.counters.ahead)
	fl.followOne(change{pid: t.pid, since: t.counters.since, again: true})
	if since := t.counters.since; since != 0 && elapsed(since, clock.Monotonic()) > tellTime {
		fl.settler.tellWaiting(t)
	}
	fl.report.flush()
}
