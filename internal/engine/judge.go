// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// judge finds out what events mean. It changes nothing.
type judge struct{ *state }

// verdict is what a marker means.
type verdict struct {
	act    act
	doubt  bool // part of it rests on lost records: nobody is to blame
	scope  *scope
	orphan stream.OrphanReason // of actOrphan
}

// act is what to do about a marker.
type act uint8

const (
	actOpen     act = iota // enter: a scope begins
	actRefuse              // enter: inside a scope that is on no stack, so not on one either
	actClose               // exit: scope ends, which is the innermost
	actUnwind              // exit: scope ends, which has others inside
	actEither              // exit: of scope or of a stand-in inside it, nobody can say which
	actForeign             // exit: of a scope that another thread has open
	actOverflow            // exit: its enter was refused
	actExpected            // exit: of a scope that a repair has closed
	actOrphan              // exit: nobody saw its scope begin
	actBlame               // exit: its scope is open nowhere, and the program is to blame
)

func orphan(why stream.OrphanReason) verdict { return verdict{act: actOrphan, orphan: why} }

// continuity is what the number of a thread's record says about those before it.
type continuity struct {
	lost      uint64 // markers just before it
	backwards bool   // the thread had passed it: cannot happen
	program   bool   // the thread has run another program since
}

// follows judges a record that says that its thread runs a program and produced n
// markers before.
func (th *thread) follows(n uint64, program uint32) continuity {
	switch {
	case program != th.program:
		return continuity{program: true}
	case n < th.nextSeq:
		return continuity{backwards: true}
	}
	return continuity{lost: n - th.nextSeq}
}

// alignment is what happened on a lane without a record.
type alignment struct {
	closed int  // scopes that ended
	all    bool // all scopes there are, whatever the kernel counted for them
	opened int  // scopes that began and are still open
	keep   *scope
	unsure bool
}

// misaligned reports whether something happened on a lane without a record.
func (th *thread) misaligned(ln *lane, ev *event.Marker) bool {
	if ev.Effect == probe.Enter {
		return ln.gaps != th.gaps || ev.Depth != ln.count.depth+1
	}
	return ln.gaps != th.gaps || ev.Depth != ln.count.depth-1
}

// alignment finds out, from what the kernel counted while records were lost,
// what happened on a lane: scopes down to the lowest depth were closed, and the
// rest of the present depth was opened again. A token proves more: the scope that
// an exit names has been open until now, and nothing is open inside it any more.
func (j *judge) alignment(th *thread, ln *lane, s *Site, ev *event.Marker) alignment {
	before := int(ev.Depth) - 1
	if ev.Effect == probe.Exit {
		before = int(ev.Depth) + 1
	}
	a := alignment{closed: int(ln.count.depth) - int(ev.Low), opened: before - int(ev.Low)}
	if j.sites.countedBefore(th, ln) || a.opened < 0 {
		// The kernel counted while only some of the probes were in place.
		a = alignment{closed: math.MaxInt, all: true, unsure: a.opened > 0}
	}
	if ev.Effect == probe.Exit && s.Token != None {
		a.keep = j.named(ln, s, ev)
	}
	return a
}

// enter judges an enter of a strictly nested pair.
func (j *judge) enter(ln *lane) verdict {
	if ln.overflow > 0 {
		// One more, so that the exits of those come first.
		return verdict{act: actRefuse}
	}
	return verdict{act: actOpen}
}

// stale returns the place on a stack of the outermost scope that cannot be open
// when p is entered, or -1.
func (j *judge) stale(st *recorder.Stack, p *Pair) int {
	for i := range st.Depth() {
		sc := j.scopes.at(st, i)
		switch {
		case sc.standIn():
			// It counts if whatever it can stand for would.
			if j.sites.governs(p) {
				return i
			}
		case sc.pair == p && !p.Reentrant || slices.Contains(p.Resets, sc.pair):
			return i
		}
	}
	return -1
}

// outermost returns the place on a stack of the outermost scope of p, or -1.
func (j *judge) outermost(st *recorder.Stack, p *Pair) int {
	for i := range st.Depth() {
		if j.scopes.at(st, i).pair == p {
			return i
		}
	}
	return -1
}

// exit judges an exit of a strictly nested pair.
func (j *judge) exit(th *thread, ln *lane, s *Site, ev *event.Marker) verdict {
	if s.Token != None && ev.Values[s.Token].Int == 0 {
		if s.Pair.noEnter { // the markers give no tokens then
			return orphan(stream.OrphanEnterNotAttached)
		}
		return orphan(stream.OrphanUntraced)
	}
	if ln.overflow > 0 && s.Token == None {
		return verdict{act: actOverflow} // the innermost scope is on no stack
	}
	sc := j.meant(th, ln, s, ev)
	switch {
	case sc == nil:
		return j.unmatched(th, ln, s, ev)
	case sc.standIn() && !s.Pair.Reentrant:
		// The enter that was lost would have ended the instance below it.
		own := j.scopes.find(ln, func(sc *scope) bool { return sc.pair == s.Pair })
		if own != nil && own.stack == sc.stack {
			return verdict{act: actEither, scope: own, doubt: true}
		}
	case sc.thread != th:
		return verdict{act: actForeign, scope: sc}
	}
	return j.found(th, ln, s, ev, sc)
}

// found judges the exit of a scope of the thread itself.
func (j *judge) found(th *thread, ln *lane, s *Site, ev *event.Marker, sc *scope) verdict {
	if sc != j.scopes.top(sc.stack) {
		return verdict{act: actUnwind, scope: sc, doubt: j.guessed(th, sc) || j.losses.untraceable()}
	}
	// A gap may hide an enter to which an exit without a token belongs: the
	// kernel counted one.
	other := s.Token == None && sc.gaps != th.gaps && ln.count.level(sc) != ev.Depth+1
	return verdict{act: actClose, scope: sc, doubt: sc.standIn() || other}
}

// failedInside reports whether everything open inside a scope has failed, because
// nothing but an error can have skipped its exit, and where that begins on the stack.
func (j *judge) failedInside(sc *scope) (at int, failed bool) {
	for at = sc.stack.Depth(); ; at-- {
		o := j.scopes.at(sc.stack, at-1)
		switch {
		case o == sc:
			return at, true
		case o.standIn() || !o.pair.Fails:
			return at, false
		}
	}
}

// guessed reports whether it is uncertain that sc and everything above it were
// left open: their enters are lost, or their exits may be.
func (j *judge) guessed(th *thread, sc *scope) bool {
	if sc.standIn() {
		return true
	}
	st := sc.stack
	for i := st.Depth() - 1; ; i-- {
		o := j.scopes.at(st, i)
		if o == sc {
			return false
		}
		if o.standIn() || o.gaps != th.gaps {
			return true
		}
	}
}

// meant looks for the scope that an exit means: by its token, else the innermost
// that can be of its pair. It returns nil if there is none.
func (j *judge) meant(th *thread, ln *lane, s *Site, ev *event.Marker) *scope {
	if s.Token == None {
		return j.scopes.find(ln, func(sc *scope) bool { return sc.pair == s.Pair || sc.standIn() })
	}
	if sc := j.named(ln, s, ev); sc != nil || ln.overflow > 0 {
		return sc
	}
	// Rare: only a defect or a gap leads here.
	for _, other := range th.process.threads {
		if other == th || !other.has(s.Pair.Lane) {
			continue
		}
		if sc := j.named(&other.lanes[s.Pair.Lane], s, ev); sc != nil {
			return sc
		}
	}
	return nil
}

// named returns the scope of a lane that has the token of an exit.
func (j *judge) named(ln *lane, s *Site, ev *event.Marker) *scope {
	user := ev.Values[s.Token].Int
	var out *scope
	for _, st := range ln.stacks {
		for i := st.Depth() - 1; i >= 0; i-- {
			sc := j.scopes.at(st, i)
			if sc.user != user || sc.pair != s.Pair {
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

// unmatched judges an exit whose scope is open nowhere.
func (j *judge) unmatched(th *thread, ln *lane, s *Site, ev *event.Marker) verdict {
	switch {
	case ln.overflow > 0:
		return verdict{act: actOverflow}
	case s.Pair.noEnter:
		return orphan(stream.OrphanEnterNotAttached)
	case s.Token == None && ln.expects(s.Pair):
		return verdict{act: actExpected}
	}
	if s.Token != None && th.process.exits.expects(exitKey{s.Pair, ev.Values[s.Token].Int}) {
		return verdict{act: actExpected}
	}
	return j.unseen(th, ln, s, ev)
}

// unseen judges an exit of a scope that, as far as is known, nobody saw begin.
func (j *judge) unseen(th *thread, ln *lane, s *Site, ev *event.Marker) verdict {
	gate := th.process.gate(s)
	// A second exit of a scope, or one after its thread's end, was not entered before
	// the site was attached.
	again := s.Token != None && th.process.exits.knows(endedScope{s.Pair, ev.Values[s.Token].Int, gate.time})
	if newest := j.scopes.newest(ln); newest != nil {
		standIn := j.scopes.find(ln, (*scope).standIn)
		switch {
		case newest == standIn:
			return j.found(th, ln, s, ev, newest) // the enter was lost, and this is its exit
		case newest.start < gate.time && !again:
			// The site was attached inside that phase, perhaps inside its own too.
			return orphan(stream.OrphanBeforeAttach)
		case standIn != nil:
			// The same, of a scope in which others were left open.
			return verdict{act: actUnwind, scope: standIn, doubt: true}
		}
	} else {
		switch {
		case ln.unsure:
			return orphan(stream.OrphanLost)
		case th.key.StartTime < gate.boot && !again:
			return orphan(stream.OrphanBeforeAttach)
		case th.process.inherited && th.id.HostTID == th.process.id.HostPID && !again:
			return orphan(stream.OrphanInherited)
		}
	}
	if j.losses.untraceable() {
		return orphan(stream.OrphanLost)
	}
	return verdict{act: actBlame}
}
