// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

func (e *Engine) exit(th *thread, ln *lane, s *site, ev *loader.Event) {
	if s.token != none && ev.Values[s.token].Int == 0 {
		e.orphan(th, s, ev, "untraced")
		return
	}
	st, depth := e.find(th, ln, s, ev)
	switch {
	case st == nil:
		e.unmatched(th, ln, s, ev)
	case st.Key().ThreadID != th.TID:
		e.crossThread(th, ln, s, ev, st, depth)
	case depth == st.Depth()-1:
		e.close(e.top(st), ev.Time, &s.Marker, ReasonNone, ev)
		e.settle(st, ev.Time)
	default:
		e.outOfOrder(th, s, ev, st, depth)
	}
}

// find looks for the scope that an exit means: by its token, else the
// innermost of its pair. depth is its place on the stack. nil: it is nowhere.
func (e *Engine) find(th *thread, ln *lane, s *site, ev *loader.Event) (st *recorder.Stack, depth int) {
	if s.token == none {
		return e.findOn(ln, func(sc *scope) bool { return sc.pair == s.pair })
	}
	user := ev.Values[s.token].Int
	same := func(sc *scope) bool { return sc.user == user && sc.pair == s.pair }
	if st, depth = e.findOn(ln, same); st != nil {
		return st, depth
	}
	// Rare: only a defect or a gap leads here.
	for _, other := range e.threads {
		if other == th || other.process != th.process {
			continue
		}
		if st, depth = e.findOn(&other.lanes[s.pair.lane], same); st != nil {
			return st, depth
		}
	}
	return nil, 0
}

func (e *Engine) findOn(ln *lane, is func(*scope) bool) (*recorder.Stack, int) {
	for _, st := range ln.stacks {
		for i := st.Depth() - 1; i >= 0; i-- {
			if is(e.at(st, i)) {
				return st, i
			}
		}
	}
	return nil, 0
}

// unmatched handles an exit whose scope is not open anywhere.
func (e *Engine) unmatched(th *thread, ln *lane, s *site, ev *loader.Event) {
	if ln.refused > 0 {
		ln.refused-- // its enter was refused and counted
		return
	}
	if ln.late.take(s, ev) {
		e.stats.late++ // the scope was closed for it, and that has been told
		return
	}
	st := e.stack(th, ln, s.pair)
	top := e.top(st)
	switch {
	case top != nil && top.pair == nil:
		// The enter was lost, and this is its exit.
		e.close(top, ev.Time, &s.Marker, ReasonLost, ev)
		e.settle(st, ev.Time)
	case top == nil && th.key.StartTime < s.since:
		e.orphan(th, s, ev, "before_attach")
	case top == nil && th.process.inherited && th.HostTID == th.process.HostPID:
		e.orphan(th, s, ev, "inherited")
	default:
		_, err := st.Exit(recorder.Token{})
		e.violation(th, s, ev, err, "nothing had to be done")
	}
}

// outOfOrder handles an exit of a scope that has others above it.
func (e *Engine) outOfOrder(th *thread, s *site, ev *loader.Event, st *recorder.Stack, depth int) {
	reason := ReasonUnwound
	for i := depth + 1; i < st.Depth(); i++ {
		if e.at(st, i).pair == nil {
			reason = ReasonLost // what lies above is our guess: blame nobody
		}
	}
	if reason == ReasonUnwound {
		_, err := st.Exit(e.at(st, depth).token)
		if e.cfg.Policy == PolicyReject {
			e.violation(th, s, ev, err, "the stack was left as it is (--on-violation reject)")
			return
		}
		e.violation(th, s, ev, err, "what was open inside it was closed")
	}
	for i := st.Depth() - 1; i > depth; i-- {
		th.lanes[s.pair.lane].late.add(e.at(st, i))
	}
	e.closeAbove(st, depth+1, ev.Time, reason)
	e.close(e.top(st), ev.Time, &s.Marker, ReasonNone, ev)
	e.settle(st, ev.Time)
}

// crossThread handles an exit of a scope that is open on another thread.
func (e *Engine) crossThread(th *thread, ln *lane, s *site, ev *loader.Event, owner *recorder.Stack, depth int) {
	mine := e.stack(th, ln, s.pair)
	sc := e.at(owner, depth)
	_, err := mine.Exit(sc.token)
	if e.cfg.Policy == PolicyReject {
		e.violation(th, s, ev, err, "the stack was left as it is (--on-violation reject)")
		return
	}
	e.violation(th, s, ev, err, "the scope was closed where it was opened")
	if depth == owner.Depth()-1 {
		sc.thread.lanes[s.pair.lane].late.add(sc)
		e.close(sc, ev.Time, &s.Marker, ReasonUnwound, nil)
		e.settle(owner, ev.Time)
		return
	}
	sc.closedElsewhere = true
}

// settle closes scopes that come to lie on top and that another thread has
// closed before.
func (e *Engine) settle(st *recorder.Stack, time int64) {
	for sc := e.top(st); sc != nil && sc.closedElsewhere; sc = e.top(st) {
		e.close(sc, time, nil, ReasonUnwound, nil)
	}
}

// closeAbove closes the scopes of a stack from the top down to place i.
func (e *Engine) closeAbove(st *recorder.Stack, i int, time int64, why Reason) {
	for st.Depth() > i {
		e.close(e.top(st), time, nil, why, nil)
	}
}

// close exits a scope, which must be on top of its stack, and tells about it.
// ev is the exit's own record, nil when there is none.
func (e *Engine) close(sc *scope, time int64, m *Marker, why Reason, ev *loader.Event) {
	rb, err := sc.stack.Exit(sc.token)
	if err != nil {
		e.stats.strangers++ // the caller's mistake: it must not go unseen
		return
	}
	duration := max(time-sc.start, 0)
	e.b = Boundary{
		Boundary: rb, Time: time, Duration: duration, Thread: &sc.thread.Thread, ExitThread: e.exitThread,
		Marker: m, Synthetic: why, Keyed: sc.key.pair != nil, Key: sc.key.value,
	}
	if ev != nil {
		now := countersOf(ev)
		e.b.HasCounters = sc.pair != nil
		e.b.Counters = Counters{
			now.VoluntarySwitches - sc.counters.VoluntarySwitches,
			now.InvoluntarySwitches - sc.counters.InvoluntarySwitches,
			now.MinorFaults - sc.counters.MinorFaults,
			now.MajorFaults - sc.counters.MajorFaults,
		}
		e.b.Resident = e.resident(ev, sc)
	}
	if parent := e.top(sc.stack); parent != nil {
		parent.inner += duration
	}
	e.stats.closed(&e.b, duration-sc.inner)
	*sc = scope{}
	e.out.boundary(&e.b)
}

func (e *Engine) orphan(th *thread, s *site, ev *loader.Event, reason string) {
	e.stats.orphans++
	e.out.orphan(&Orphan{Time: ev.Time, Thread: &th.Thread, Marker: &s.Marker, Reason: reason})
}

func (e *Engine) violation(th *thread, s *site, ev *loader.Event, err error, repaired string) {
	var pe *recorder.ProtocolError
	if !errors.As(err, &pe) {
		e.stats.strangers++
		return
	}
	v := Violation{Time: ev.Time, Thread: &th.Thread, Marker: &s.Marker, Err: pe, Repaired: repaired}
	v.ClosingStart, v.TopStart = e.startOf(pe.Closing), e.startOf(pe.Top)
	if e.defects.seen(&v) {
		e.out.violation(&v)
	}
}
