// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"maps"
	"time"
)

// overwritten takes note of a file whose guard has given way: its probes are out.
func (w *watcher) overwritten(g *guard) {
	w.report.shortfall.overwritten.add(0)
	w.report.warn(fmt.Sprintf("%s is being written to in place: its probes were removed before that; what is in it then is looked at again", g.path))
	if g.err != nil {
		w.report.say("warning: %s: remove its probes: %v", g.path, g.err)
	}
	pids := make(map[int]bool)
	for _, f := range w.targets.filesOf(g.key) {
		switch f.guard.Load() {
		case g:
			w.keeper.old.add(f, g)
		case nil:
		default:
			continue // what was written meanwhile, and is attached already
		}
		maps.Copy(pids, w.releaser.drop(f))
	}
	maps.Copy(pids, w.hooks.drop(g.key))
	w.postponed.putOff(g.key, &pending{path: g.path, file: g.file, pids: pids, since: g.at, wait: firstWait})
	w.report.flush()
}

// settleFirst is settleLast for files whose probes are about to be removed because
// somebody writes to them. It does not hold the watcher's lock; at the session's
// end settleAll does it.
func (w *watcher) settleFirst(g *guard) {
	if !g.misplaced.Load() {
		return
	}
	for !w.mu.TryLock() {
		if w.ctx.Err() != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	defer w.mu.Unlock()
	for _, f := range w.targets.filesOf(g.key) {
		if f.guard.Load() == g {
			w.settler.settleLast(f)
		}
	}
}
