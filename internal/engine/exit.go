// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

func (e *Engine) exit(th *thread, ln *lane, s *Site, ev *event.Marker) {
	if s.Token != None && ev.Values[s.Token].Int == 0 {
		e.orphan(th, s, ev, "untraced")
		return
	}
	if ln.over > 0 && s.Token == None {
		ln.over-- // the innermost scope is on no stack: its enter was refused
		return
	}
	sc := e.find(th, ln, s, ev)
	switch {
	case sc == nil:
		e.unmatched(th, ln, s, ev)
	case sc.pair == nil && !s.Pair.Reentrant && e.closeEither(ln, s, ev, sc):
	case sc.thread != th:
		e.crossThread(th, ln, s, ev, sc)
	default:
		e.closeFound(th, ln, s, ev, sc)
	}
}

// closeFound handles the exit of a scope of the thread itself.
func (e *Engine) closeFound(th *thread, ln *lane, s *Site, ev *event.Marker, sc *scope) {
	st := sc.stack
	if sc != e.top(st) {
		e.outOfOrder(th, ln, s, ev, sc)
		return
	}
	ln.over = 0
	why := stream.ReasonNone
	if sc.pair == nil || s.Token == None && sc.gaps != th.gaps && sc.depth != ev.Depth+1 {
		// Its enter was lost; or a gap may hide an enter that this exit means
		// rather, for the kernel counted one.
		why = stream.ReasonLost
	}
	e.close(sc, ev.Time, &s.Marker, why, ev)
	e.settle(st, ev.Time)
}

// closeEither handles the exit of a pair that is not reentrant when it may mean
// a scope whose enter was lost or the instance below it, which that enter would
// have ended: nobody can say which, so the end of both counts as lost.
func (e *Engine) closeEither(ln *lane, s *Site, ev *event.Marker, guess *scope) bool {
	own := e.findOn(ln, func(sc *scope) bool { return sc.pair == s.Pair })
	if own == nil || own.stack != guess.stack {
		return false
	}
	st := own.stack
	for sc := e.top(st); sc != own; sc = e.top(st) {
		e.close(sc, ev.Time, nil, stream.ReasonLost, nil)
	}
	e.close(own, ev.Time, &s.Marker, stream.ReasonLost, ev)
	e.settle(st, ev.Time)
	return true
}

// find looks for the scope that an exit means: by its token, else the
// innermost that can be of its pair. nil: it is nowhere.
func (e *Engine) find(th *thread, ln *lane, s *Site, ev *event.Marker) *scope {
	if s.Token == None {
		return e.findOn(ln, func(sc *scope) bool { return sc.pair == s.Pair || sc.pair == nil })
	}
	user := ev.Values[s.Token].Int
	same := func(sc *scope) bool { return sc.user == user && sc.pair == s.Pair }
	if sc := e.findOn(ln, same); sc != nil || ln.over > 0 {
		return sc
	}
	// Rare: only a defect or a gap leads here.
	for _, other := range th.process.threads {
		if other == th {
			continue
		}
		if sc := e.findOn(&other.lanes[s.Pair.Lane], same); sc != nil {
			return sc
		}
	}
	return nil
}

// findOn returns the innermost scope of a lane that is what is looked for.
func (e *Engine) findOn(ln *lane, is func(*scope) bool) *scope {
	var out *scope
	for _, st := range ln.stacks {
		for i := st.Depth() - 1; i >= 0; i-- {
			sc := e.at(st, i)
			if !is(sc) {
				continue
			}
			if out == nil || sc.token.Scope() > out.token.Scope() {
				out = sc
			}
			break
		}
	}
	return out
}

// unmatched handles an exit whose scope is not open anywhere.
func (e *Engine) unmatched(th *thread, ln *lane, s *Site, ev *event.Marker) {
	if ln.over > 0 {
		ln.over-- // its enter was refused and counted
		return
	}
	if ln.late.take(s, ev) {
		e.late--
		e.stats.Late++ // the scope was closed for it, and that has been told
		return
	}
	newest := e.newest(ln)
	switch {
	case newest != nil && newest.pair == nil:
		// The enter was lost, and this is its exit.
		e.closeFound(th, ln, s, ev, newest)
	case newest != nil && newest.start < th.process.gate(s).time:
		// The site was attached inside that phase, perhaps inside its own too.
		e.orphan(th, s, ev, "before_attach")
	case newest == nil && ln.unsure:
		e.orphan(th, s, ev, "records_lost")
	case newest == nil && th.key.StartTime < th.process.gate(s).boot:
		e.orphan(th, s, ev, "before_attach")
	case newest == nil && th.process.inherited && th.HostTID == th.process.HostPID:
		e.orphan(th, s, ev, "inherited")
	case e.withoutGap():
		e.orphan(th, s, ev, "records_lost")
	default:
		_, err := e.stack(th, ln, s.Pair).Exit(recorder.Token{})
		e.violation(th, s, ev, err, "nothing had to be done")
	}
}

// outOfOrder handles an exit of a scope that has others above it.
func (e *Engine) outOfOrder(th *thread, ln *lane, s *Site, ev *event.Marker, sc *scope) {
	st := sc.stack
	depth := st.Depth() - 1
	guessed := sc.pair == nil
	for ; e.at(st, depth) != sc; depth-- {
		guessed = guessed || e.at(st, depth).pair == nil
	}
	reason := stream.ReasonUnwound
	if guessed || e.withoutGap() {
		reason = stream.ReasonLost // part of this is our guess: blame nobody
	} else {
		_, err := st.Exit(sc.token)
		if e.cfg.Policy == PolicyReject {
			e.violation(th, s, ev, err, "the stack was left as it is (--on-violation reject)")
			return
		}
		e.violation(th, s, ev, err, "what was open inside it was closed")
	}
	for i := st.Depth() - 1; i > depth; i-- {
		e.waitFor(ln, e.at(st, i))
	}
	e.closeAbove(st, depth+1, ev.Time, reason)
	e.closeFound(th, ln, s, ev, sc)
}

// crossThread handles an exit of a scope that is open on another thread.
func (e *Engine) crossThread(th *thread, ln *lane, s *Site, ev *event.Marker, sc *scope) {
	owner := sc.stack
	_, err := e.stack(th, ln, s.Pair).Exit(sc.token)
	if e.cfg.Policy == PolicyReject {
		e.violation(th, s, ev, err, "the stack was left as it is (--on-violation reject)")
		return
	}
	e.violation(th, s, ev, err, "the scope was closed where it was opened")
	if sc == e.top(owner) {
		e.waitFor(&sc.thread.lanes[s.Pair.Lane], sc)
		e.close(sc, ev.Time, &s.Marker, stream.ReasonUnwound, nil)
		e.settle(owner, ev.Time)
		return
	}
	sc.closedElsewhere = true
}

// settle closes scopes that come to lie on top and that another thread has
// closed before.
func (e *Engine) settle(st *recorder.Stack, time int64) {
	for sc := e.top(st); sc != nil && sc.closedElsewhere; sc = e.top(st) {
		e.close(sc, time, nil, stream.ReasonUnwound, nil)
	}
}

// closeAbove closes the scopes of a stack from the top down to place i.
func (e *Engine) closeAbove(st *recorder.Stack, i int, time int64, why stream.Reason) {
	for st.Depth() > i {
		e.close(e.top(st), time, nil, why, nil)
	}
}

// close exits a scope, which must be on top of its stack, and tells about it.
// ev is the exit's own record, nil when there is none.
func (e *Engine) close(sc *scope, time int64, m *stream.Marker, why stream.Reason, ev *event.Marker) {
	rb, err := sc.stack.Exit(sc.token)
	if err != nil {
		e.stats.FailedExits++ // the caller's mistake: it must not go unseen
		return
	}
	duration := max(time-sc.start, 0)
	e.b = stream.Boundary{
		Boundary: rb, Time: time, Duration: duration, Self: max(duration-sc.inner, 0), Thread: &sc.thread.Thread, ExitThread: e.exitThread,
		Marker: m, Synthetic: why, Keyed: sc.key.pair != nil, Key: sc.key.value,
	}
	if ev != nil {
		now := countersOf(ev)
		e.b.HasCounters = sc.pair != nil
		e.b.Counters = stream.Counters{
			VoluntarySwitches:   now.VoluntarySwitches - sc.counters.VoluntarySwitches,
			InvoluntarySwitches: now.InvoluntarySwitches - sc.counters.InvoluntarySwitches,
			MinorFaults:         now.MinorFaults - sc.counters.MinorFaults,
			MajorFaults:         now.MajorFaults - sc.counters.MajorFaults,
		}
		e.b.Resident = e.resident(ev, sc)
	}
	if parent := e.top(sc.stack); parent != nil {
		parent.inner += duration
	}
	*sc = scope{}
	e.out.Record(&e.b)
}

func (e *Engine) orphan(th *thread, s *Site, ev *event.Marker, reason string) {
	e.stats.Orphans++
	e.out.Record(&stream.Orphan{Time: ev.Time, Thread: &th.Thread, Marker: &s.Marker, Reason: reason})
}

func (e *Engine) violation(th *thread, s *Site, ev *event.Marker, err error, repaired string) {
	var pe *recorder.ProtocolError
	if !errors.As(err, &pe) {
		e.stats.UntypedErrors++
		return
	}
	v := stream.Violation{Time: ev.Time, Thread: &th.Thread, Marker: &s.Marker, Err: pe, Repaired: repaired}
	v.ClosingStart, v.TopStart = e.startOf(pe.Closing), e.startOf(pe.Top)
	if kept := e.defects.seen(&v); kept != nil {
		e.out.Record(&v)
		kept.Unix = v.Unix
	}
}
