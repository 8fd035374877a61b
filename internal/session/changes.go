// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/process"
)

// change is a process whose mapped files may have changed.
type change struct {
	pid   int
	since int64 // of the event that told of it
	exec  bool
	start bool // a watched file is about to run its first code
	again bool // nobody told: an earlier look was too early
	// stoppable: it waits, or may wait, on its main thread.
	stoppable bool
	// replaced: the thread that ran exec was not the main one and has taken its
	// place; probes that were attached for the process are gone with the old.
	replaced bool
	file     event.File // of an exec: to let the process go on
	halted   bool       // it has been stopped
	// overtaken are the programs that the process has run before, since the last
	// look.
	overtaken []event.File
	rewritten *pending // the file because of which the process is looked at again
	added     added
}

// maxOvertaken bounds the programs that one process runs between two looks.
const maxOvertaken = 1 << 10

// changeOf returns the change that an event tells of, if it does.
func changeOf(ev event.Event) (c change, ok bool) {
	switch ev := ev.(type) {
	case *event.Library:
		c = change{pid: ev.Who.ViewPID, since: ev.Time}
	case *event.FileStart:
		c = change{pid: ev.Who.ViewPID, since: ev.Time, start: true, stoppable: ev.TID == ev.PID}
	case *event.Exec:
		c = change{pid: ev.Who.ViewPID, since: ev.Time, exec: true, stoppable: true, replaced: ev.FormerTID != ev.TID, file: ev.File}
	}
	return c, c.pid != 0 // a process without an id here cannot be looked at
}

// changes are those that nobody has looked at yet, one for each process.
type changes struct {
	mu   sync.Mutex
	list []change
}

// add notes a change.
func (l *changes) add(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if old := &l.list[i]; old.pid == c.pid {
			if c.exec {
				c.replaced, c.halted = c.replaced || old.replaced, c.halted || old.halted
				if c.overtaken = old.overtaken; old.exec && len(c.overtaken) < maxOvertaken {
					c.overtaken = append(c.overtaken, old.file)
				}
				c.added.join(old.added)
				*old = c // what came before is gone
				return
			}
			old.added.join(c.added)
			old.start, old.halted = old.start || c.start, old.halted || c.halted
			return
		}
	}
	l.list = append(l.list, c)
}

// next takes the change to look at first: programs that wait come before
// libraries. It returns with it those of other programs that run the same file.
func (l *changes) next() (first change, same []change, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == 0 {
		return change{}, nil, false
	}
	i := max(slices.IndexFunc(l.list, func(c change) bool { return c.exec || c.start }), 0)
	first = l.list[i]
	l.list = slices.DeleteFunc(slices.Delete(l.list, i, i+1), func(c change) bool {
		if !first.exec || !c.exec || c.file != first.file || c.start {
			return false
		}
		same = append(same, c)
		return true
	})
	return first, same, true
}

// changed notes a change; the watcher looks when it comes to it. It never waits.
func (w *watcher) changed(c change) {
	note := func() {
		w.changes.add(c)
		w.inbox.post(w.followAll)
	}
	if w.halter == nil || !c.exec && !c.start {
		note()
		return
	}
	// All in their order: a file's start comes after the exec of its program.
	w.halting.post(func() {
		c.halted = c.stoppable && w.halt(c)
		note()
	})
}

// halt stops a program that waits in the kernel, where it uses up its CPU and
// delays the attaching that it waits for. False: it goes on waiting there.
func (w *watcher) halt(c change) bool {
	if !w.tracer.Held(c.pid) {
		return false // it need not wait, or has waited for too long
	}
	if err := w.halter.Halt(c.pid); err != nil {
		return false
	}
	if !w.tracer.Held(c.pid) { // it has waited for too long, and begun to run
		w.halter.Release(c.pid)
		return false
	}
	if err := w.unhold(c, false); err != nil {
		w.halter.Release(c.pid)
		return false
	}
	return true
}

// unhold lets a program go on that waits in the kernel.
func (w *watcher) unhold(c change, seen bool) error {
	if c.start {
		return w.tracer.ReleaseHeld(c.pid)
	}
	return w.tracer.ReleaseExec(c.pid, c.file, seen)
}

// waits reports whether a program has waited until now.
func (w *watcher) waits(pid int) bool {
	return w.tracer.Waiting(pid) || w.halter != nil && w.halter.Halted(pid)
}

// letRun resumes a program that waits, in whichever way.
func (w *watcher) letRun(c change, seen bool) error {
	var err error
	if c.exec {
		err = w.tracer.ReleaseExec(c.pid, c.file, seen)
	}
	if c.start {
		err = errors.Join(err, w.tracer.ReleaseHeld(c.pid))
	}
	if c.halted {
		w.halter.Release(c.pid)
	}
	return err
}

// followAll looks at what has changed. Programs that run the same file, as the
// ranks of a job do, wait for one look: what is attached is attached for all.
func (w *watcher) followAll() {
	for first, same, ok := w.changes.next(); ok; first, same, ok = w.changes.next() {
		seen := w.followOne(first)
		for _, c := range same {
			if c.halted || !seen {
				continue
			}
			// It uses the CPU that looking at the others needs.
			w.warnOf(c.pid, w.letRun(c, true))
		}
		for _, c := range same {
			w.followOne(c)
		}
		w.report()
	}
}

// followOne looks at one process, and reports whether it was seen, and with it
// the others that run the same file.
func (w *watcher) followOne(c change) bool {
	seen, err := w.follow(c)
	w.warnOf(c.pid, err)
	return seen
}

// warnOf warns of what went wrong at a process, if anything did.
func (w *watcher) warnOf(pid int, err error) {
	if err != nil {
		w.plan.warnings.add(fmt.Sprintf("process %d: %v", pid, err))
	}
}

// leaveChanges counts the programs that nobody gets to look at any more, where
// that is not done with what is attached.
func (w *watcher) leaveChanges() {
	for first, same, ok := w.changes.next(); ok; first, same, ok = w.changes.next() {
		for _, c := range append(same, first) {
			if t := w.targets[c.pid]; t != nil && t.counters.passes && (c.exec || c.start) {
				w.shortfall.off += 1 + len(c.overtaken)
			}
			if !process.Gone(c.pid, 0) {
				continue
			}
			if w.endedWith(c); c.exec && w.known[c.file] == 0 {
				w.shortfall.missedExecs++
			}
		}
	}
}

// maxKnown bounds the executables that are known to have been looked at.
const maxKnown = 1 << 16

// follow attaches to what has appeared in a process, and lets it go on if it
// waits for that. seen is as in followOne.
func (w *watcher) follow(c change) (seen bool, err error) {
	seen, ended, err := w.followChange(c)
	if ended {
		w.endedWith(c)
	}
	if !seen && err == nil && c.exec && w.known[c.file] == 0 {
		w.shortfall.missedExecs++ // it has ended
	}
	switch {
	case c.exec:
		err = errors.Join(err, w.releaseExec(c, seen))
	case c.start:
		if !seen {
			w.shortfall.off++
		}
		err = errors.Join(err, w.letRun(c, seen))
	}
	t := w.targets[c.pid]
	return seen && (t == nil || !t.direct), err
}

// releaseExec lets a process go on that ran exec. seen: its file has been looked
// at.
func (w *watcher) releaseExec(c change, seen bool) error {
	t := w.targets[c.pid]
	if seen && t != nil && t.direct { // the file is the linker's, and says nothing of the program's
		return w.letRun(c, false)
	}
	since, known := w.known[c.file]
	switch {
	case seen && t != nil && t.counters.passes && len(w.passing) < maxKnown:
		w.passing[c.file] = true // the next that runs it may be missed too
	case known && since > c.since && !w.waits(c.pid): // attached for another, and too late for this one
		w.shortfall.lateExecs.add(elapsed(c.since, since))
	case seen && !known && len(w.known) < maxKnown:
		w.known[c.file] = clock.Monotonic()
	}
	for _, f := range c.overtaken {
		if w.passing[f] {
			w.shortfall.missedExecs++
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
	return w.letRun(c, seen)
}

// followChange attaches to what a process has mapped now. seen: its files were
// read. ended: it has ended, or is about to, before they could be.
func (w *watcher) followChange(c change) (seen, ended bool, err error) {
	t, proc, err := w.openChanged(c)
	if err != nil {
		err = w.notLooked(err)
		return false, err == nil && process.Gone(c.pid, 0), err
	}
	if t.proc == nil {
		defer proc.Close()
	}
	r := request{proc: proc, earlier: t.modules, starting: c.exec, ahead: aheadTime, also: c.rewritten, added: c.added.names}
	if c.exec {
		r.earlier = nil
	}
	ctx, cancel := context.WithTimeout(w.ctx, lookTime)
	defer cancel()
	v, err := w.look(ctx, r)
	if err != nil {
		err = w.notLooked(err)
		return false, err == nil && process.Gone(c.pid, 0), err
	}
	defer v.close()
	if !c.exec && v.replaced && !t.execDue {
		t.execDue = true // the event of that exec is on its way, and its program waits for it
		return true, false, nil
	}
	w.core.described(c.pid, v.who)
	if v.gone {
		return false, true, nil
	}
	if t.execDue = false; c.replaced {
		w.detachAll(t)
	}
	w.atStart(t, v, c)
	w.shares(t, proc)
	passed := w.passed(t, v)
	err = w.attachChange(t, v, c)
	w.tellPassed(passed, v)
	over := process.Gone(c.pid, proc.StartTime)
	seen = !v.later && (t.unread == 0 || !over)
	return seen, !seen && over && err == nil, err
}

// notLooked counts a look at a process that failed, and returns why; nil when the
// process has ended.
func (w *watcher) notLooked(err error) error {
	switch {
	case errors.Is(err, process.ErrNoProcess), errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, errLookTime):
		w.shortfall.slowLooks++
	default:
		w.shortfall.failedLooks++
	}
	return fmt.Errorf("look for markers: %w: those in its files are not traced", withRemedy(err))
}

// openChanged returns the target of a change, and a handle on it.
func (w *watcher) openChanged(c change) (*target, *process.Process, error) {
	t := w.targets[c.pid]
	if t != nil && t.proc != nil {
		return t, t.proc, nil
	}
	proc, err := process.Open(c.pid)
	if err != nil {
		return nil, nil, err
	}
	if t == nil {
		t = &target{pid: c.pid, started: proc.StartTime, reach: newReach()}
		w.targets[c.pid] = t
	}
	return t, proc, nil
}

// attachChange attaches to what a process has mapped now, and reports it.
func (w *watcher) attachChange(t *target, v *view, c change) error {
	before, rewritten := w.attached.sites, c.rewritten
	files := w.attachedOften(t, v)
	if rewritten == nil {
		rewritten = w.pendingOf(v.open)
	}
	err := w.attachTo(t, v)
	n, after := w.attached.sites-before, elapsed(c.since, clock.Monotonic())
	if n == 0 {
		if t.counters.moved && !w.waits(c.pid) {
			w.shortfall.lateStarts.add(after)
		}
		return err
	}
	what := fmt.Sprintf("attached %d more sites in process %d, ", n, c.pid)
	switch waits := w.waits(c.pid); {
	case waits && c.exec:
		what += fmt.Sprintf("which waited %v for it at its first instruction", roundTime(after))
	case waits:
		what += fmt.Sprintf("which waited %v for it at a file's first instruction", roundTime(after))
	case rewritten != nil && !v.later:
		after = elapsed(rewritten.since, clock.Monotonic())
		what += fmt.Sprintf("%v after %s began to be written to", roundTime(after), rewritten.path)
		w.shortfall.overwritten.worst = max(w.shortfall.overwritten.worst, after)
	case v.added == 0 && len(v.loaded) > 0:
		what = fmt.Sprintf("attached %d more sites in libraries that process %d may load again", n, c.pid)
	case c.start || c.again:
		what += fmt.Sprintf("%v after it started a file", roundTime(after))
		w.shortfall.lateStarts.add(after)
	case c.exec:
		what += fmt.Sprintf("%v after it ran another program", roundTime(after))
		w.shortfall.lateExecs.add(after)
	default:
		what += w.lateLibrary(w.attachedSince(t, v, files), after)
	}
	w.say("%s", what)
	return err
}

// roundTime rounds to what a person can use.
func roundTime(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
