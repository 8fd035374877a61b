// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
)

// idleTime is how long a file that no followed process uses stays attached: one
// that runs it soon need not wait for that again.
const idleTime = 30 * time.Second

// releaseIdle detaches files that nobody has used for idleTime.
func (w *watcher) releaseIdle() {
	now := clock.Monotonic()
	w.idle = slices.DeleteFunc(w.idle, func(f *file) bool {
		switch {
		case f.users > 0:
			return true // in use again
		case elapsed(f.idle, now) < idleTime:
			return false
		}
		w.detach(f, w.shared.files[f])
		delete(w.shared.files, f)
		w.retireUnused(f)
		return true
	})
}

// retireUnused forgets a file, its sites and the pairs that only it had, once
// nobody uses it and no probe of it is left. Files that the user named stay.
func (w *watcher) retireUnused(f *file) {
	if f.users > 0 || f.attachments > 0 || f.pinned || f.retired || len(w.shared.files[f]) > 0 || !w.mode.releases() {
		return
	}
	f.retired = true
	w.unwatchStart(f)
	w.files.forget(f)
	for k := range f.execs { // processes that run it must wait again
		delete(w.known, k)
		delete(w.passing, k)
		w.tracer.ForgetExec(k)
	}
	var ids []uint32
	var sites []*site
	for _, s := range f.plan {
		ids, sites = append(ids, s.ID), append(sites, w.plan.sites[s.ID])
		delete(w.shared.sites, s.ID)
	}
	w.plan.note(sites)
	tracer := w.tracer
	w.core.retire(ids, func() {
		if tracer != nil {
			tracer.Forget(ids)
		}
		w.inbox.post(func() { w.plan.free(sites) })
	})
}
