// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// books opens and closes scopes, counts what is refused, and has each step
// reported. What to open or close is decided elsewhere.
type books struct {
	*state
	emit *emitter
	read values
}

// ending is how a scope ends.
type ending struct {
	time   int64
	marker *stream.Marker // nil when no marker ended it
	why    stream.Reason
	record *event.Marker // of its own exit, nil when there is none
	tells  []byte        // attributes of that exit
	doubt  stream.Doubt  // of its duration
	by     *thread       // another thread that ended it
}

// enter opens a scope. It returns false if the recorder refused it.
func (b *books) enter(th *thread, st *recorder.Stack, s *Site, ev *event.Marker, k keyedScope) (*scope, bool) {
	token, rb, err := st.Enter(th.id.Name, b.read.name(s, ev), b.read.told(th, s, ev, st.Depth() == 0))
	if err != nil {
		b.refused(err)
		return nil, false
	}
	sc := b.scopes.add(token, st, th, ev)
	sc.pair, sc.site, sc.keyed = s.Pair, s, k
	s.Pair.load.Entered++
	if st.Depth() == 1 && k.value.N == 0 {
		s.Pair.load.Outermost++
	}
	sc.resident = b.emit.residentBytes(ev)
	if k.value.N == 0 {
		b.scopes.entered(sc, ev.Time)
	}
	if s.Token != None {
		sc.user = ev.Values[s.Token].Int
		if len(th.process.exits.expected) > 0 { // tokens come again when a library is loaded again
			th.process.exits.take(exitKey{s.Pair, sc.user}, &b.exits)
		}
	}
	b.emit.enter(&rb, sc, &s.Marker, stream.ReasonNone, ev)
	return sc, true
}

// standIn opens a stand-in for a scope whose enter was lost. It returns false if
// the recorder refused it.
func (b *books) standIn(th *thread, st *recorder.Stack, ev *event.Marker) (*scope, bool) {
	token, rb, err := st.Enter(th.id.Name, nameLost, nil)
	if err != nil {
		b.refused(err)
		return nil, false
	}
	sc := b.scopes.add(token, st, th, ev)
	sc.resident = b.emit.residentBytes(ev)
	b.scopes.entered(sc, ev.Time)
	b.emit.enter(&rb, sc, nil, stream.ReasonLost, ev)
	return sc, true
}

func (b *books) refused(err error) {
	switch {
	case errors.Is(err, recorder.ErrTooDeep):
		b.stats.TooDeep++
	case errors.Is(err, recorder.ErrTooManyScopes):
		b.stats.TooMany++
	default:
		b.stats.Refused++
	}
}

// close ends a scope, which must be on top of its stack, and returns the one that
// is then on top, or nil.
func (b *books) close(sc *scope, end ending) (top *scope) {
	rb, err := sc.stack.Exit(sc.token)
	if err != nil {
		b.stats.FailedExits++ // the caller's mistake, which must not go unnoticed
		return nil
	}
	duration := max(end.time-sc.start, 0)
	if top = b.scopes.top(sc.stack); top != nil {
		top.inner += duration
	}
	if sc.pair != nil {
		sc.pair.load.Inside += duration
	}
	self := duration
	if sc.keyed.value.N == 0 {
		self = min(b.scopes.ended(sc, end.time), duration-sc.inner)
	}
	b.emit.exit(&rb, sc, duration, max(self, 0), &end)
	*sc = scope{}
	return top
}

// closeAbove closes the scopes of a stack from the top down to place i.
func (b *books) closeAbove(st *recorder.Stack, i int, time int64, why stream.Reason) {
	for n := st.Depth(); n > i; n-- {
		sc, why := b.scopes.top(st), why
		if why == stream.ReasonAbandoned && sc.pair != nil && sc.pair.Fails {
			why = stream.ReasonFailed
		}
		b.close(sc, ending{time: time, why: why})
	}
}

// settle closes scopes now on top that ended earlier.
func (b *books) settle(ln *lane, st *recorder.Stack, time int64) {
	for sc := b.scopes.top(st); sc != nil && sc.over != stream.ReasonNone; sc = b.scopes.top(st) {
		if sc.over == stream.ReasonUnwound {
			ln.count.left(1) // another thread's exit
		}
		b.close(sc, ending{time: time, why: sc.over})
	}
	if ln.count.owed > 0 && b.scopes.newest(ln) == nil {
		ln.count.owed = 0
	}
}

// closeThread closes everything on a thread's lanes.
func (b *books) closeThread(th *thread, time int64, why stream.Reason) {
	for i := range th.lanes {
		ln := &th.lanes[i]
		for _, st := range ln.stacks {
			if why == stream.ReasonThreadExit {
				b.overNamed(st, time) // it is an error if another thread exits them
			}
			b.closeAbove(st, 0, time, th.ending(ln, why))
		}
		ln.overflow, ln.expected = 0, nil
	}
}

// expect remembers that the exit of a scope that is about to be closed by a repair
// may still come.
func (b *books) expect(ln *lane, sc *scope) {
	switch {
	case sc.standIn():
	case sc.user != 0:
		sc.thread.process.exits.expect(exitKey{sc.pair, sc.user}, sc.thread.key.TID, &b.exits)
	default:
		ln.expect(sc.pair)
	}
}

// expectNamed does so for the scopes of a stack from place i up that have tokens.
func (b *books) expectNamed(ln *lane, st *recorder.Stack, i int) {
	for ; i < st.Depth(); i++ {
		if sc := b.scopes.at(st, i); sc.user != 0 {
			b.expect(ln, sc)
		}
	}
}

// overNamed remembers that the scopes of a stack that have tokens are over.
func (b *books) overNamed(st *recorder.Stack, time int64) {
	for i := range st.Depth() {
		if sc := b.scopes.at(st, i); sc.user != 0 {
			sc.thread.process.exits.over(endedScope{sc.pair, sc.user, time})
		}
	}
}

// orphan counts and reports an exit for which no scope is open.
func (b *books) orphan(th *thread, s *Site, ev *event.Marker, why stream.OrphanReason) {
	b.stats.Orphans++
	b.emit.orphan(th, s, ev, why)
}

// blame counts a violation, and reports the first of its kind. err is the
// recorder's.
func (b *books) blame(th *thread, s *Site, ev *event.Marker, err error, done stream.Repair) {
	var pe *recorder.ProtocolError
	if !errors.As(err, &pe) {
		b.stats.UntypedErrors++
		return
	}
	v := b.emit.violation(th, s, ev, pe, done)
	v.ClosingStart, v.TopStart = b.scopes.startOf(pe.Closing), b.scopes.startOf(pe.Top)
	if kept := b.defects.seen(v); kept != nil {
		b.emit.tell(th.process, v)
		kept.Unix = v.Unix
	}
}

// lose counts and reports markers of a thread that were lost just before a time.
func (b *books) lose(th *thread, n uint64, time int64) {
	b.losses.report(th.key, n)
	th.process.tally.lost += n
	b.emit.loss(th, n, time)
}
