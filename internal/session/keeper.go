// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/lease"
	"github.com/phasetrace/phasetrace/internal/loader"
)

// keeper guards files that are attached to, and puts off those that cannot be
// guarded now.
type keeper struct {
	tracer    *loader.Tracer
	report    *reporter
	guards    *guards
	postponed *postponed
	old       oldFiles
	post      func(func()) // to the watcher's goroutine
}

// errLater says that a file cannot be attached to now; it is looked at again.
var errLater = errors.New("it is attached to later")

// guardFile returns the guard of an open file; errLater where it has to wait.
func (k *keeper) guardFile(t *target, h *os.File, path string) (*guard, error) {
	g, err := k.guards.hold(h, path, k.tracer)
	switch {
	case errors.Is(err, errGivenWay):
		return nil, errLater // what comes of that looks at the process again
	case errors.Is(err, lease.ErrWriter):
		k.report.warn(fmt.Sprintf("%s is open for writing: its markers are traced once that is over", path))
		waiting := len(k.postponed.all)
		err = k.later(t, h, path)
		if len(k.postponed.all) > waiting { // else it is counted already
			k.report.shortfall.overwritten.add(0)
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	if g.unkept != nil {
		k.report.warn(fmt.Sprintf("%s: %v: programs that run it may crash should it be written to in place while it is traced; replace it by renaming instead", path, g.unkept))
	}
	return g, nil
}

// removalTime is about how long the kernel takes to remove a site without
// uprobe_multi.
const removalTime = 100 * time.Millisecond

// warnSlow warns of a file whose probes take longer to remove than writers wait.
func (k *keeper) warnSlow(f *file, sites int) {
	takes, wait := time.Duration(sites)*removalTime, lease.BreakTime()
	if !k.tracer.Features().UprobeMulti && wait > 0 && takes > wait/2 {
		k.report.warn(fmt.Sprintf("%s: %s of it take about %v to remove on this kernel, and who writes to it waits %v: programs that run it may crash should it be written to in place while it is traced; replace it by renaming instead",
			f.path, count(sites, "site"), takes, wait))
	}
}

// unguard lets go of a file that no probe is in.
func (k *keeper) unguard(f *file, g *guard) {
	g.free()
	if f.attachments == 0 && f.guard.Load() == g && !g.keeps() {
		f.guard.Store(nil)
	}
}

// later looks at a process again soon, once a file can be attached to.
func (k *keeper) later(t *target, h *os.File, path string) error {
	return k.laterBy(t, h, path, firstWait)
}

func (k *keeper) laterBy(t *target, h *os.File, path string, wait time.Duration) error {
	own, err := reopen(h)
	if err != nil {
		return err
	}
	id, err := identify(own)
	if err != nil {
		return errors.Join(err, own.Close())
	}
	k.postponed.putOff(id.fileKey, &pending{
		path: path, file: own, pids: map[int]bool{t.pid: true}, since: clock.Monotonic(), wait: wait,
	})
	return errLater
}

// hook is what is attached in a dynamic linker; nothing, where at is nil.
type hook struct {
	at    *loader.Attachment
	guard *guard
}

// unhook removes it.
func (k *keeper) unhook(h hook) {
	if h.at == nil {
		return
	}
	k.tracer.Release(h.at, func() {
		k.post(func() {
			if h.guard != nil {
				h.guard.removed(h.at)
				h.guard.free()
			}
		})
	})
}
