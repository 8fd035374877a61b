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
	if f.users > 0 || f.attachments > 0 || f.pinned || len(w.shared.files[f]) > 0 || !w.mode.releases() {
		return
	}
	w.retire(f)
}

// retire forgets a file whose probes are out, its sites and the pairs that only it
// had; where those cannot be let go of, they stay and are not attached again.
func (w *watcher) retire(f *file) {
	if f.retired {
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
	if !w.mode.releases() {
		w.plan.remove(sites)
		return
	}
	w.plan.note(sites)
	w.core.retire(func() { w.inbox.post(func() { w.forgetSites(ids, sites) }) })
}

// forgetSites lets go of sites of which everything has been read. Their numbers
// come last: whoever gets them next must find nothing of theirs.
func (w *watcher) forgetSites(ids []uint32, sites []*site) {
	w.plan.free(sites)
	w.tracer.Forget(ids)
	w.core.removeSites(ids)
}
