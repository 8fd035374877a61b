// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// repairer brings the open scopes of strictly nested pairs in line with what was
// judged, as the policy says.
type repairer struct {
	*state
	*books
	judge judge
}

// enter acts upon an enter.
func (r *repairer) enter(th *thread, ln *lane, s *Site, ev *event.Marker, v verdict) {
	if s.Token == None {
		ln.expire(s.Pair)
	}
	if v.act == actRefuse {
		ln.overflow++
		r.stats.TooDeep++
		return
	}
	if sc, ok := r.books.enter(th, r.scopes.stack(th, ln, s.Pair), s, ev, keyedScope{}); ok {
		sc.depth = ev.Depth - ln.count.shift
		if s.Pair.watch.alive != 0 {
			ln.watchEnter(th, s, ev, sc)
		}
	} else {
		ln.overflow++
	}
}

// dropStale closes what an enter proves to be over: an instance of a pair that is
// not reentrant, and of pairs that this one resets.
func (r *repairer) dropStale(th *thread, ln *lane, s *Site, ev *event.Marker) {
	if s.Pair.Reentrant && len(s.Pair.Resets) == 0 {
		return
	}
	for _, st := range ln.stacks {
		r.drop(th, ln, st, r.judge.stale(st, s.Pair), ev.Time)
	}
}

// reset closes, on the lanes of the pairs that a reset site proves to be over,
// everything from the outermost scope of such a pair on.
func (r *repairer) reset(th *thread, s *Site, ev *event.Marker) {
	for _, p := range s.Over {
		if !th.has(p.Lane) {
			continue
		}
		ln := &th.lanes[p.Lane]
		for _, st := range ln.stacks {
			r.drop(th, ln, st, r.judge.outermost(st, p), ev.Time)
		}
	}
}

// drop closes the scopes of a stack from the top down to place i; -1: none.
func (r *repairer) drop(th *thread, ln *lane, st *recorder.Stack, i int, time int64) {
	if i < 0 {
		return
	}
	r.expectNamed(ln, st, i)
	r.leave(th, ln, st, i, time, stream.ReasonAbandoned)
}

// exit acts upon an exit.
func (r *repairer) exit(th *thread, ln *lane, s *Site, ev *event.Marker, v verdict) {
	switch v.act {
	case actClose:
		r.end(ln, s, ev, v)
	case actUnwind:
		r.unwind(th, ln, s, ev, v)
	case actEither:
		r.either(ln, s, ev, v.scope)
	case actForeign:
		r.foreign(th, ln, s, ev, v.scope)
	case actOverflow:
		ln.overflow--
	case actExpected:
		r.expected(th, ln, s, ev)
	case actOrphan:
		ln.count.unused()
		if s.Pair.watch.alive != 0 {
			ln.watchOrphan(th, s)
		}
		r.orphan(th, s, ev, v.orphan)
	case actBlame:
		ln.count.unused()
		_, err := r.scopes.stack(th, ln, s.Pair).Exit(recorder.Token{})
		r.blame(th, s, ev, err, stream.RepairNothing)
	}
}

// end closes the innermost scope of a stack by its own exit.
func (r *repairer) end(ln *lane, s *Site, ev *event.Marker, v verdict) {
	sc := v.scope
	st, why := sc.stack, stream.ReasonNone
	switch {
	case v.doubt:
		why = stream.ReasonLost
	case ln.count.owed > 0 && ln.count.due(sc) == 0:
		r.scopes.writeOff(ln) // the program has gone on without them
	}
	if ln.overflow > 0 {
		ln.count.left(int(ln.overflow))
		ln.overflow = 0
	}
	if s.Token != None {
		sc.thread.process.exits.over(endedScope{s.Pair, ev.Values[s.Token].Int, ev.Time})
	}
	end := ending{time: ev.Time, marker: &s.Marker, why: why, record: ev, tells: r.read.attributes(s, ev)}
	th, watched := sc.thread, s.Pair.watch.alive != 0
	if watched {
		if end.doubt = ln.watchExit(th, s, ev, sc); end.doubt != stream.DoubtNone {
			r.suspect(s.Pair)
		}
	}
	top := r.close(sc, end)
	if top != nil && top.over != stream.ReasonNone || ln.count.owed > 0 {
		r.settle(ln, st, ev.Time)
	}
	if watched {
		r.scopes.watchClosed(ln, th, s)
	}
}

// unwind closes a scope after the ones above it.
func (r *repairer) unwind(th *thread, ln *lane, s *Site, ev *event.Marker, v verdict) {
	sc := v.scope
	st, reason := sc.stack, stream.ReasonLost
	if at, failed := r.judge.failedInside(sc); failed && !v.doubt {
		r.leave(th, ln, st, at, ev.Time, stream.ReasonAbandoned)
		r.end(ln, s, ev, r.judge.found(th, ln, s, ev, sc))
		return
	}
	if !v.doubt {
		reason = stream.ReasonUnwound
		_, err := st.Exit(sc.token)
		if r.cfg.Policy == PolicyReject {
			ln.count.unused()
			r.blame(th, s, ev, err, stream.RepairRefused)
			return
		}
		r.blame(th, s, ev, err, stream.RepairUnwound)
	}
	known := 0
	for i := st.Depth() - 1; r.scopes.at(st, i) != sc; i-- {
		top := r.scopes.at(st, i)
		if top.standIn() {
			ln.count.left(1)
		} else {
			known++
			r.expect(ln, top)
		}
		r.close(top, ending{time: ev.Time, why: reason})
	}
	r.end(ln, s, ev, r.judge.found(th, ln, s, ev, sc))
	r.scopes.owe(ln, known, r.scopes.batch.Stats().Sequence)
}

// either closes the scope that an exit means, or the instance inside it of which
// only a stand-in is known: nobody can say which, so the end of both counts as
// lost.
func (r *repairer) either(ln *lane, s *Site, ev *event.Marker, own *scope) {
	st := own.stack
	for i := st.Depth() - 1; r.scopes.at(st, i) != own; i-- {
		ln.count.left(1)
		r.close(r.scopes.at(st, i), ending{time: ev.Time, why: stream.ReasonLost})
	}
	r.close(own, ending{time: ev.Time, marker: &s.Marker, why: stream.ReasonLost, record: ev, tells: r.read.attributes(s, ev)})
	r.settle(ln, st, ev.Time)
}

// foreign handles an exit of a scope that is open on another thread.
func (r *repairer) foreign(th *thread, ln *lane, s *Site, ev *event.Marker, sc *scope) {
	ln.count.unused()
	_, err := r.scopes.stack(th, ln, s.Pair).Exit(sc.token)
	if r.cfg.Policy == PolicyReject {
		r.blame(th, s, ev, err, stream.RepairRefused)
		return
	}
	r.blame(th, s, ev, err, stream.RepairAtOwner)
	st, owner := sc.stack, &sc.thread.lanes[s.Pair.Lane]
	sc.over = stream.ReasonUnwound
	if sc == r.scopes.top(st) {
		r.expect(owner, sc)
		owner.count.left(1)
		r.close(sc, ending{time: ev.Time, marker: &s.Marker, why: stream.ReasonUnwound})
		r.settle(owner, st, ev.Time)
	}
}

// expected takes the exit of a scope that a repair has closed.
func (r *repairer) expected(th *thread, ln *lane, s *Site, ev *event.Marker) {
	own := true
	if s.Token == None {
		ln.take(s.Pair)
	} else {
		k := exitKey{s.Pair, ev.Values[s.Token].Int}
		own = th.process.exits.take(k, &r.exits) == th.key.TID
	}
	if own {
		ln.count.comes = true
		r.scopes.paid(ln, 1)
	} else {
		ln.count.unused()
	}
	r.orphan(th, s, ev, stream.OrphanRepaired)
}

// realign brings a lane in line after a gap. Scopes that began in it get a
// stand-in without a name, so that what follows nests where it belongs.
func (r *repairer) realign(th *thread, ln *lane, s *Site, ev *event.Marker, a alignment) {
	ln.gaps = th.gaps
	ln.unsure = ln.unsure || a.unsure
	if a.closed < 0 {
		ln.count.left(-a.closed)
	}
	if !ln.count.comes {
		r.scopes.writeOff(ln)
	}
	beyond := min(max(a.closed, 0), int(ln.overflow))
	ln.overflow -= uint32(beyond)
	for a.closed -= beyond; a.closed > 0; a.closed-- {
		sc := r.scopes.newest(ln)
		if sc == nil || sc == a.keep {
			break
		}
		if !a.all && ln.count.level(sc) <= ev.Low {
			r.scopes.paid(ln, int32(a.closed)) // it cannot be the one that ended
			break
		}
		st := sc.stack
		r.expect(ln, sc)
		r.close(sc, ending{time: ev.Time, why: stream.ReasonLost})
		r.settle(ln, st, ev.Time)
	}
	switch {
	case a.keep == nil:
		r.standIn(th, ln, s, ev, a.opened)
	case a.keep == r.scopes.newest(ln):
		r.keep(ln, ev, a.keep)
	default:
		ln.count.left(a.opened)
	}
}

// keep assumes that the scope whose exit the record is was open until now: what
// is missing from the kernel's count are other exits. If they are as many as the
// scopes around it, those are over.
func (r *repairer) keep(ln *lane, ev *event.Marker, sc *scope) {
	c := &ln.count
	surplus := c.level(sc) + c.due(sc) - (ev.Depth + 1)
	if around := sc.stack.Depth() - 1; surplus > c.due(sc) && !c.stray && int(surplus-c.due(sc)) == around {
		for i := range around {
			r.scopes.at(sc.stack, i).over = stream.ReasonLost
		}
	}
	c.shift = ev.Depth + 1 - c.due(sc) - sc.depth
}

// standIn opens stand-ins for n scopes whose enters were lost.
func (r *repairer) standIn(th *thread, ln *lane, s *Site, ev *event.Marker, n int) {
	for i := range n {
		if ln.overflow == 0 {
			if sc, ok := r.books.standIn(th, r.scopes.stack(th, ln, s.Pair), ev); ok {
				sc.depth = ev.Low + 1 + int32(i) - ln.count.shift
				continue
			}
		}
		ln.overflow += uint32(n - i)
		return
	}
}
