// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
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
	// replaced: the thread that ran exec was not the main one and has taken its
	// place; probes that were attached for the process are gone with the old.
	replaced bool
	file     event.File // of an exec: to let the process go on
}

// changeOf returns the change that an event tells of, if it does.
func changeOf(ev event.Event) (c change, ok bool) {
	switch ev := ev.(type) {
	case *event.Library:
		c = change{pid: ev.Who.ViewPID, since: ev.Time}
	case *event.Exec:
		c = change{pid: ev.Who.ViewPID, since: ev.Time, exec: true, replaced: ev.FormerTID != ev.TID, file: ev.File}
	}
	return c, c.pid != 0 // a process without an id here cannot be looked at
}

// changed notes a change, one for each process that waits to be looked at.
func (w *watcher) changed(c change) {
	w.inbox.post(func() {
		if err := w.follow(c); err != nil {
			w.say("warning: process %d: %v", c.pid, err)
		}
		w.report()
	})
}

// maxKnown bounds the executables that are known to have been looked at.
const maxKnown = 1 << 16

// follow attaches to what has appeared in a process, and lets it go on if it
// waits for that.
func (w *watcher) follow(c change) error {
	seen, err := w.followChange(c)
	if c.exec {
		return errors.Join(err, w.releaseExec(c, seen))
	}
	return err
}

// releaseExec lets a process go on that ran exec. seen: its file has been looked
// at; if it has not, now or earlier, its markers may have been missed.
func (w *watcher) releaseExec(c change, seen bool) error {
	switch known := w.known[c.file]; {
	case seen && !known && len(w.known) < maxKnown:
		w.known[c.file] = true
	case !seen && !known:
		w.shortfall.missedExecs++
	}
	if t := w.targets[c.pid]; seen && t != nil {
		for f := range t.files {
			if f.execs == nil {
				f.execs = make(map[event.File]bool)
			}
			f.execs[c.file] = true
		}
	}
	return w.tracer.ReleaseExec(c.pid, c.file, seen)
}

// followChange attaches to what a process has mapped now. seen: its files were
// read, which is too late when it has ended; then its own record tells.
func (w *watcher) followChange(c change) (seen bool, err error) {
	t, proc, err := w.openChanged(c)
	if err != nil {
		return false, nil // it has ended
	}
	if t.proc == nil {
		defer proc.Close()
	}
	r := request{proc: proc, earlier: t.modules, starting: c.exec}
	if c.exec {
		r.earlier = nil
	}
	ctx, cancel := context.WithTimeout(w.ctx, lookTime)
	defer cancel()
	v, err := w.look(ctx, r)
	switch {
	case errors.Is(err, errLookTime):
		w.shortfall.slowLooks++
		return false, fmt.Errorf("look for markers: %w: those in its files are not traced", err)
	case err != nil:
		return false, nil // it has ended
	}
	defer v.close()
	w.core.described(c.pid, v.who)
	if v.gone {
		return false, nil
	}
	if c.replaced {
		w.detachAll(t)
	}
	err = w.attachChange(t, v, c)
	return t.unread == 0 || !process.Gone(c.pid, proc.StartTime), err
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

// attachChange attaches to what a process has mapped now, and tells of it.
func (w *watcher) attachChange(t *target, v *view, c change) error {
	before := w.attached.sites
	err := w.attachTo(t, v)
	n := w.attached.sites - before
	if n == 0 {
		return err
	}
	after := elapsed(c.since, clock.Monotonic())
	what := fmt.Sprintf("attached %d more sites in process %d, ", n, c.pid)
	switch {
	case c.exec && w.tracer.Waiting(c.pid):
		what += fmt.Sprintf("which waited %v for it at its first instruction", roundTime(after))
	case c.exec:
		what += fmt.Sprintf("%v after it ran another program", roundTime(after))
		w.shortfall.lateExecs.add(after)
	default:
		what += fmt.Sprintf("%v after a library was mapped", roundTime(after))
		w.shortfall.lateLibraries.add(after)
	}
	w.say("%s", what)
	return err
}

// roundTime leaves what a person can use.
func roundTime(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
