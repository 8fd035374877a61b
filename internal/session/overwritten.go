// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/lease"
	"github.com/phasetrace/phasetrace/internal/loader"
)

// pending is a file whose markers are not traced for now, because it is being
// written to or because somebody still shows its old contents.
type pending struct {
	path  string
	file  *os.File
	pids  map[int]bool // targets to look at again then
	since int64        // when its probes were removed, or it could not be attached to, ns CLOCK_MONOTONIC
	wait  time.Duration
	// Where nobody can tell whether it is being written to: what it was at the last
	// look, and for how many looks.
	last  fileID
	still int
}

// How often pending files are looked at: soon at first, as a copy is quick.
const (
	firstWait = 2 * time.Millisecond
	lastWait  = 100 * time.Millisecond
	// stillLooks is after how many looks a file that has not changed is complete.
	stillLooks = 20
)

// overwritten takes note of a file whose guard has given way: its probes are out.
func (w *watcher) overwritten(g *guard) {
	w.shortfall.overwritten.add(0)
	w.plan.warnings.add(fmt.Sprintf("%s is being written to in place: its probes were removed before that; what is in it then is looked at again", g.path))
	if g.err != nil {
		w.say("warning: %s: remove its probes: %v", g.path, g.err)
	}
	pids := make(map[int]bool)
	for _, f := range w.filesOf(g.key) {
		switch f.guard.Load() {
		case g:
			w.old.add(f, g)
		case nil:
		default:
			continue // what was written meanwhile, and is attached already
		}
		maps.Copy(pids, w.drop(f))
	}
	maps.Copy(pids, w.dropLinker(g.key))
	w.putOff(g.key, &pending{path: g.path, file: g.file, pids: pids, since: g.at, wait: firstWait})
	w.report()
}

// filesOf returns what is known, and not let go of, under a key.
func (w *watcher) filesOf(key fileKey) (all []*file) {
	add := func(f *file) {
		if f.key == key && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	for _, t := range w.targets {
		for f := range t.files {
			add(f)
		}
		for f := range t.reach.files {
			add(f)
		}
	}
	for f := range w.shared.files {
		add(f)
	}
	return all
}

// drop lets go of a file whose probes are out or must go, and returns who used it.
func (w *watcher) drop(f *file) (users map[int]bool) {
	users = make(map[int]bool)
	for _, t := range w.targets {
		if t.files[f] {
			users[t.pid] = true
			delete(t.files, f)
			f.users--
		}
		w.dropReach(&t.reach, f)
	}
	w.dropReach(&w.shared, f)
	w.idle = slices.DeleteFunc(w.idle, func(i *file) bool { return i == f })
	f.pinned = false
	w.retire(f)
	return users
}

func (w *watcher) dropReach(r *reach, f *file) {
	for _, p := range f.plan {
		delete(r.sites, p.ID)
	}
	w.detach(f, r.files[f])
	delete(r.files, f)
}

// dropLinker lets go of what is attached in a dynamic linker, and returns the
// processes that are to be looked at again.
func (w *watcher) dropLinker(key fileKey) (users map[int]bool) {
	users = make(map[int]bool)
	drop := func(all map[fileKey]hook) bool {
		h, ok := all[key]
		if ok {
			w.unhook(h)
			delete(all, key)
		}
		return ok
	}
	held := drop(w.holding)
	held = drop(w.shared.linkers) || held
	for _, t := range w.targets {
		if drop(t.reach.linkers) || held {
			users[t.pid] = true
		}
	}
	return users
}

// putOff looks at processes again once a file can be attached to. It takes over
// the open file.
func (w *watcher) putOff(key fileKey, p *pending) {
	if old := w.pending[key]; old != nil {
		maps.Copy(old.pids, p.pids)
		p.file.Close()
		return
	}
	w.pending[key] = p
	w.retryLater(key, p)
}

func (w *watcher) retryLater(key fileKey, p *pending) {
	time.AfterFunc(p.wait, func() { w.inbox.post(func() { w.retry(key, p) }) })
}

// retry looks whether a pending file can be attached to by now.
func (w *watcher) retry(key fileKey, p *pending) {
	if w.pending[key] != p {
		return
	}
	if !w.complete(p) {
		p.wait = min(2*p.wait, lastWait)
		w.retryLater(key, p)
		return
	}
	delete(w.pending, key)
	defer p.file.Close()
	for _, pid := range slices.Sorted(maps.Keys(p.pids)) {
		if w.targets[pid] != nil {
			w.followOne(change{pid: pid, since: p.since, rewritten: p})
		}
	}
	w.report()
}

// complete reports whether nobody writes to a file any more. Where that cannot be
// told, it is when nothing has changed for a while.
func (w *watcher) complete(p *pending) bool {
	err := lease.Free(p.file)
	if err == nil || errors.Is(err, lease.ErrWriter) {
		return err == nil
	}
	id, err := identify(p.file)
	if p.still++; err != nil || id != p.last {
		p.last, p.still = id, 0
	}
	return p.still >= stillLooks
}

// pendingOf returns what waits, if any, of some files.
func (w *watcher) pendingOf(open []openFile) *pending {
	for _, f := range open {
		if p := w.pending[f.key]; p != nil {
			return p
		}
	}
	return nil
}

// pendingPaths names what waits.
func (w *watcher) pendingPaths() (paths []string) {
	for _, p := range w.pending {
		paths = append(paths, p.path)
	}
	return paths
}

// closePending lets go of what waits.
func (w *watcher) closePending() {
	for _, p := range w.pending {
		p.file.Close()
	}
	clear(w.pending)
}

// hook is what is attached in a dynamic linker; nothing, where at is nil.
type hook struct {
	at    *loader.Attachment
	guard *guard
}

// unhook removes it.
func (w *watcher) unhook(h hook) {
	if h.at == nil {
		return
	}
	w.tracer.Release(h.at, func() {
		w.inbox.post(func() {
			if h.guard != nil {
				h.guard.removed(h.at)
				h.guard.free()
			}
		})
	})
}
