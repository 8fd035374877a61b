// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/process"
)

// add makes a process a target. Until something has been attached for it, it
// leaves nothing behind.
func (w *watcher) add(ctx context.Context, in Target) error {
	pid := in.pid()
	if t := w.targets.byPID[pid]; t != nil && t.proc != nil {
		return nil
	}
	proc, err := process.Open(pid)
	if err != nil {
		return withRemedy(err) // names the process
	}
	starting := in.Spawned != nil
	v, err := w.looker.look(ctx, request{proc: proc, starting: starting, ahead: heldTime})
	if err != nil {
		proc.Close()
		return fmt.Errorf("process %d: %w", pid, withRemedy(err))
	}
	defer v.close()
	t := &target{pid: pid, proc: proc, started: proc.StartTime, reach: newReach(), spawning: in.Spawned != nil, launched: in.Spawned != nil}
	if err := w.addSeen(ctx, t, v, in); err != nil {
		delete(w.targets.byPID, pid)
		if w.tracer != nil {
			w.releaser.release(t)
			return err
		}
		proc.Close()
		return err
	}
	return nil
}

// addSeen attaches to a process that has been looked at.
func (w *watcher) addSeen(ctx context.Context, t *target, v *view, in Target) error {
	// What the user got wrong is said before anything is loaded.
	if _, err := w.plan.add(v.open); err != nil {
		return err
	}
	if planned := slices.ContainsFunc(v.open, func(f openFile) bool { return len(f.plan) > 0 }); !planned && !w.mayComeLater(v) {
		return w.noMarkers(ctx, t, &v.looked)
	}
	if err := w.load(); err != nil {
		return err
	}
	if err := w.core.settle(ctx, t.pid); err != nil {
		return err
	}
	w.targets.byPID[t.pid] = t
	p := processOf(t.proc, v)
	p.Parent = 0
	w.core.addProcess(p, true)
	w.costs.begun(t.pid)
	if err := w.tracer.AddTarget(t.pid); err != nil {
		return err
	}
	if err := awaitRemovals(ctx, v); err != nil {
		return err
	}
	if err := w.attacher.attachTo(t, v); err != nil {
		return err
	}
	w.postponed.await(ctx)
	w.watchEnd(t)
	if in.Spawned != nil {
		w.spawned = append(w.spawned, in.Spawned)
	}
	if w.cfg.Follow {
		return w.follower.adopt(ctx, t.pid)
	}
	return nil
}

// awaitRemovals waits until no probe is being removed of the files that a look has
// found, for as long as the end of a session would.
func awaitRemovals(ctx context.Context, v *view) error {
	ctx, cancel := context.WithTimeout(ctx, slowEndTime)
	defer cancel()
	for _, f := range v.open {
		if err := f.removals.wait(ctx); err != nil {
			return fmt.Errorf("attach to %s: its former probes are still being removed: try again: %w", f.path, err)
		}
	}
	return nil
}

// watchEnd notices the end of a process that the user named.
func (w *watcher) watchEnd(t *target) {
	proc, started := t.proc, t.proc.StartTime
	go func() {
		if proc.Wait(w.ctx) == nil {
			w.core.endSoon(ending{pid: t.pid, started: started, at: clock.Monotonic()})
		}
	}()
}

// mayComeLater reports whether markers are to be expected although there is
// none yet: followed processes run other programs, and a program loads more
// libraries, as the java launcher does its virtual machine. Markers that are left
// alone, or off, are there already. A static program that runs seldom loads any.
func (w *watcher) mayComeLater(v *view) bool {
	switch {
	case w.cfg.Follow:
		return true
	case !v.linker.watchable():
		return false
	case v.starting:
		return true
	}
	return w.cfg.Await && !v.linker.static && w.plan.refused == 0 && len(w.plan.leftOff(v.open)) == 0
}

func (w *watcher) noMarkers(ctx context.Context, t *target, l *looked) error {
	var lacks []string
	for _, p := range w.cfg.Pairs {
		if why := w.plan.asked.why[p.String()]; why != "" {
			lacks = append(lacks, fmt.Sprintf("pair %s: %s", p, why))
		}
	}
	return &NoMarkersError{
		Files: l.names, Skipped: l.skipped, Pairs: w.cfg.Pairs, Refused: w.plan.refused, LeftOff: w.plan.leftOff(l.open),
		Why: lacks, Children: w.offspring().marked(ctx, t.proc),
	}
}

// letGo lets held programs run.
func (w *watcher) letGo() error {
	var errs []error
	for _, s := range w.spawned {
		if t := w.targets.byPID[s.PID]; t != nil {
			t.spawning = false
			if t.counters.since != 0 {
				t.counters.since = clock.Monotonic() // it begins now
			}
		}
		errs = append(errs, s.Release())
	}
	w.spawned = nil
	return errors.Join(errs...)
}

// remove stops tracing a process. Its last records come first.
func (w *watcher) remove(pid int) error {
	t := w.targets.byPID[pid]
	if t == nil {
		return fmt.Errorf("remove process %d: it is not traced", pid)
	}
	if err := w.tracer.RemoveTarget(pid); err != nil {
		return err
	}
	p, ok := w.core.process(pid)
	delete(w.targets.byPID, pid)
	w.releaser.release(t)
	if ok {
		w.core.endSoon(ending{pid: pid, started: p.StartTime, at: clock.Monotonic(), removed: true})
	}
	return nil
}
