// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/loader"
)

// releaser removes probes, and forgets files, sites and pairs that nobody uses any
// more.
type releaser struct {
	core        *core
	mode        mode
	plan        *plan
	files       *files
	tracer      *loader.Tracer
	targets     *targets
	executables *executables
	keeper      *keeper
	settler     *settler
	post        func(func()) // to the watcher's goroutine
	idle        []*file      // that no target uses, the longest idle first
}

// release removes what is attached for a process alone, and lets go of the files
// that only it used.
func (rl *releaser) release(t *target) {
	rl.detachAll(t)
	for f := range t.files {
		rl.leave(f)
	}
	t.files = nil
	if t.proc != nil {
		t.proc.Close()
	}
}

// detachAll removes what is attached for a process alone.
func (rl *releaser) detachAll(t *target) {
	for f, attachments := range t.reach.files {
		rl.detach(f, attachments)
	}
	for _, h := range t.reach.linkers {
		rl.keeper.unhook(h)
	}
	t.reach = newReach()
}

// detach removes attachments of a file.
func (rl *releaser) detach(f *file, attachments []*loader.Attachment) {
	if len(attachments) > 0 {
		rl.settler.settleLast(f)
	}
	for _, at := range attachments {
		f.removals.begin()
		rl.tracer.Release(at, func() {
			f.removals.end()
			rl.post(func() {
				f.attachments--
				if g := f.guard.Load(); g != nil {
					g.removed(at)
					rl.keeper.unguard(f, g)
				}
				rl.retireUnused(f)
			})
		})
	}
}

// leave notes that a process no longer uses a file.
func (rl *releaser) leave(f *file) {
	if f.users--; f.users > 0 {
		return
	}
	f.idle = clock.Monotonic()
	if rl.targets.follow {
		rl.idle = append(rl.idle, f) // the next process that runs it finds it attached
		return
	}
	rl.retireUnused(f)
}

// drop lets go of a file whose probes are out or must go, and returns who used it.
func (rl *releaser) drop(f *file) (users map[int]bool) {
	users = make(map[int]bool)
	for _, t := range rl.targets.byPID {
		if t.files[f] {
			users[t.pid] = true
			delete(t.files, f)
			f.users--
		}
		rl.dropReach(&t.reach, f)
	}
	rl.dropReach(&rl.targets.shared, f)
	rl.idle = slices.DeleteFunc(rl.idle, func(i *file) bool { return i == f })
	f.pinned = false
	rl.retire(f)
	return users
}

func (rl *releaser) dropReach(r *reach, f *file) {
	for _, p := range f.plan {
		delete(r.sites, p.ID)
	}
	rl.detach(f, r.files[f])
	delete(r.files, f)
}

// idleTime is how long a file that no followed process uses stays attached: one
// that runs it soon need not wait for that again.
const idleTime = 30 * time.Second

// releaseIdle detaches files that nobody has used for idleTime.
func (rl *releaser) releaseIdle() {
	now := clock.Monotonic()
	rl.idle = slices.DeleteFunc(rl.idle, func(f *file) bool {
		switch {
		case f.users > 0:
			return true // in use again
		case elapsed(f.idle, now) < idleTime:
			return false
		}
		rl.detach(f, rl.targets.shared.files[f])
		delete(rl.targets.shared.files, f)
		rl.retireUnused(f)
		return true
	})
}

// retireUnused forgets a file, its sites and the pairs that only it had, once
// nobody uses it and no probe of it is left. Files that the user named stay.
func (rl *releaser) retireUnused(f *file) {
	if f.users > 0 || f.attachments > 0 || f.pinned || len(rl.targets.shared.files[f]) > 0 || !rl.mode.releases() {
		return
	}
	rl.retire(f)
}

// retire forgets a file whose probes are out, its sites and the pairs that only it
// had; where those cannot be let go of, they stay and are not attached again.
func (rl *releaser) retire(f *file) {
	if f.retired {
		return
	}
	f.retired = true
	rl.settler.unwatchStart(f)
	rl.files.forget(f)
	rl.executables.forget(f, rl.tracer)
	var ids []uint32
	var sites []*site
	for _, s := range f.plan {
		ids, sites = append(ids, s.ID), append(sites, rl.plan.sites[s.ID])
		delete(rl.targets.shared.sites, s.ID)
	}
	if !rl.mode.releases() {
		rl.plan.remove(sites)
		return
	}
	rl.plan.note(sites)
	rl.core.retire(func() { rl.post(func() { rl.forgetSites(f, ids, sites) }) })
}

// forgetSites lets go of sites of which everything has been read. Their numbers
// come last: whoever gets them next must find nothing of theirs.
func (rl *releaser) forgetSites(f *file, ids []uint32, sites []*site) {
	rl.plan.free(sites)
	rl.tracer.Forget(ids)
	rl.files.dropConstants(f)
	rl.core.removeSites(ids)
}
