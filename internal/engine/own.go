// SPDX-License-Identifier: Apache-2.0

package engine

// A moment of a thread belongs to the scope that was entered last of those that are
// open, whatever its lane: so a transaction that only surrounds queries has the time
// between them for itself, and not theirs. Keyed scopes take no part: they may
// begin and end on different threads.

// own is what a scope keeps for that. Slots are recorder slots plus 1, 0 for none.
type own struct {
	older, newer uint32 // slots of the thread's open scopes entered just before and after
	time         int64  // ns that belonged to the scope so far
}

// latest is what a thread keeps for that.
type latest struct {
	slot  uint32 // of the open scope entered last
	until int64  // up to when time has been given to scopes
}

// give gives a thread's time up to now to the scope entered last.
func (t *scopes) give(th *thread, now int64) {
	l := &th.latest
	if l.slot != 0 && now > l.until {
		t.open[l.slot-1].own.time += now - l.until
	}
	l.until = max(l.until, now)
}

// entered notes that a scope has just been entered.
func (t *scopes) entered(sc *scope, now int64) {
	th := sc.thread
	t.give(th, now)
	slot := sc.token.Slot() + 1
	if sc.own.older = th.latest.slot; sc.own.older != 0 {
		t.open[sc.own.older-1].own.newer = slot
	}
	th.latest.slot = slot
}

// ended notes that a scope ends, and returns the time that belonged to it, in ns.
func (t *scopes) ended(sc *scope, now int64) int64 {
	t.give(sc.thread, now)
	o := &sc.own
	if o.newer != 0 {
		t.open[o.newer-1].own.older = o.older
	} else {
		sc.thread.latest.slot = o.older
	}
	if o.older != 0 {
		t.open[o.older-1].own.newer = o.newer
	}
	return o.time
}
