// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/lease"
)

// errLater says that a file cannot be attached to now; it is looked at again.
var errLater = errors.New("it is attached to later")

// secure makes certain that a file is what was read, and stays so while probes are
// in it.
func (w *watcher) secure(t *target, f openFile, pid int) (*guard, error) {
	for _, old := range w.filesOf(f.key) {
		if old != f.file {
			w.outdated(old)
		}
	}
	if g := f.guard.Load(); g != nil && g.keeps() {
		return g, nil
	}
	g, err := w.guardFile(t, f.handle, f.path)
	if err != nil {
		return nil, err
	}
	if same, err := w.files.same(f); err != nil || !same {
		g.free()
		w.files.forget(f.file)
		return nil, errors.Join(err, w.later(t, f.handle, f.path))
	}
	if who := w.old.shownBy(f, pid); who != 0 {
		g.free()
		w.plan.warnings.add(stillShown(f.path, who))
		return nil, w.laterBy(t, f.handle, f.path, lastWait)
	}
	return g, nil
}

func stillShown(path string, pid int) string {
	who := fmt.Sprintf("process %d shows", pid)
	if pid < 0 {
		who = "some process may show"
	}
	return fmt.Sprintf("%s the contents that %s had before it was written to in place: what is in it now is traced once that is over", who, path)
}

// outdated lets go of contents that have been written over although nothing kept
// them from it.
func (w *watcher) outdated(f *file) {
	if g := f.guard.Load(); g != nil {
		go g.giveWay() // and what is in the file now comes after that
		return
	}
	w.drop(f)
}

// guardFile returns the guard of an open file; errLater where it has to wait.
func (w *watcher) guardFile(t *target, h *os.File, path string) (*guard, error) {
	g, err := w.guards.hold(h, path, w.tracer)
	switch {
	case errors.Is(err, errGivenWay):
		return nil, errLater // what comes of that looks at the process again
	case errors.Is(err, lease.ErrWriter):
		w.plan.warnings.add(fmt.Sprintf("%s is open for writing: its markers are traced once that is over", path))
		waiting := len(w.pending)
		err = w.later(t, h, path)
		if len(w.pending) > waiting { // else it is counted already
			w.shortfall.overwritten.add(0)
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	if g.unkept != nil {
		w.plan.warnings.add(fmt.Sprintf("%s: %v: programs that run it may crash should it be written to in place while it is traced; replace it by renaming instead", path, g.unkept))
	}
	return g, nil
}

// removalTime is about how long the kernel takes to remove a site without
// uprobe_multi.
const removalTime = 100 * time.Millisecond

// warnSlow warns of a file whose probes take longer to remove than writers wait.
func (w *watcher) warnSlow(f *file, sites int) {
	takes, wait := time.Duration(sites)*removalTime, lease.BreakTime()
	if !w.tracer.Features().UprobeMulti && wait > 0 && takes > wait/2 {
		w.plan.warnings.add(fmt.Sprintf("%s: %s of it take about %v to remove on this kernel, and who writes to it waits %v: programs that run it may crash should it be written to in place while it is traced; replace it by renaming instead",
			f.path, count(sites, "site"), takes, wait))
	}
}

// unguard lets go of a file that no probe is in.
func (w *watcher) unguard(f *file, g *guard) {
	g.free()
	if f.attachments == 0 && f.guard.Load() == g && !g.keeps() {
		f.guard.Store(nil)
	}
}

// later looks at a process again soon, once a file can be attached to.
func (w *watcher) later(t *target, h *os.File, path string) error {
	return w.laterBy(t, h, path, firstWait)
}

func (w *watcher) laterBy(t *target, h *os.File, path string, wait time.Duration) error {
	own, err := reopen(h)
	if err != nil {
		return err
	}
	id, err := identify(own)
	if err != nil {
		return errors.Join(err, own.Close())
	}
	w.putOff(id.fileKey, &pending{
		path: path, file: own, pids: map[int]bool{t.pid: true}, since: clock.Monotonic(), wait: wait,
	})
	return errLater
}

// patience is how long a process that is added waits for files that somebody has
// open for writing, as who has just built them.
const patience = time.Second

// awaitWriters looks again and again at files that could not be attached to.
func (w *watcher) awaitWriters(ctx context.Context) {
	for end := time.Now().Add(patience); len(w.pending) > 0 && time.Now().Before(end) && ctx.Err() == nil; time.Sleep(firstWait) {
		for key, p := range w.pending {
			if w.complete(p) {
				w.retry(key, p)
			}
		}
	}
}
