// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

// Names shown where the marker gave none.
const (
	NameEmpty      = "(empty)"
	NameUnreadable = "(unreadable)"
	NameNull       = "(null)"
)

var (
	nameEmpty      = []byte(NameEmpty)
	nameUnreadable = []byte(NameUnreadable)
	nameNull       = []byte(NameNull)
	nameLost       = []byte(stream.LostName)
)

func (e *Engine) enter(th *thread, ln *lane, s *Site, ev *event.Marker) {
	e.applyRank(th, s, ev)
	e.dropStale(ln, s, ev)
	e.late -= ln.late.expire(s)
	if ln.over > 0 {
		// Inside an enter that is on no stack: one more, so that the exits of
		// those come first.
		ln.over++
		e.stats.TooDeep++
		return
	}
	if _, ok := e.open(th, e.stack(th, ln, s.Pair), s, ev); !ok {
		ln.over++
	}
}

// applyRank takes the rank that a marker sets for its process.
func (e *Engine) applyRank(th *thread, s *Site, ev *event.Marker) {
	if s.Rank == None {
		return
	}
	if ev.Values[s.Rank].Unreadable {
		e.stats.UnreadableAttributes++
		return
	}
	if rank := int32(ev.Values[s.Rank].Int); rank >= 0 && rank != th.process.Rank {
		th.process.Rank, th.process.RankSource = rank, "marker"
	}
}

// dropStale closes what the enter proves to be over: an instance of a pair
// that is not reentrant, and of pairs that this one resets.
func (e *Engine) dropStale(ln *lane, s *Site, ev *event.Marker) {
	p := s.Pair
	if p.Reentrant && len(p.Resets) == 0 {
		return
	}
	for _, st := range ln.stacks {
		for i := range st.Depth() {
			if sc := e.at(st, i); e.stale(sc, p) {
				e.closeAbove(st, i, ev.Time, stream.ReasonAbandoned)
				ln.over = 0
				break
			}
		}
	}
}

// dropOver closes, on the lanes of the pairs that a reset site proves to be
// over, everything from the outermost scope of such a pair on.
func (e *Engine) dropOver(th *thread, s *Site, ev *event.Marker) {
	for _, p := range s.Over {
		ln := &th.lanes[p.Lane]
		for _, st := range ln.stacks {
			for i := range st.Depth() {
				if e.at(st, i).pair == p {
					e.closeAbove(st, i, ev.Time, th.reason(ln, stream.ReasonAbandoned))
					ln.over = 0
					break
				}
			}
		}
	}
}

// stale reports whether an open scope cannot be open when p is entered. A
// scope whose enter was lost counts when all that can have been there would.
func (e *Engine) stale(sc *scope, p *Pair) bool {
	switch {
	case sc.pair == nil:
		return e.governs(p)
	case sc.pair == p:
		return !p.Reentrant
	}
	return slices.Contains(p.Resets, sc.pair)
}

// governs reports whether an enter of p proves everything on its lane to be
// over.
func (e *Engine) governs(p *Pair) bool {
	if p.Reentrant {
		return false
	}
	for _, s := range e.sites {
		if s == nil {
			continue
		}
		q := s.Pair
		if s.Over == nil && !q.Keyed && q.Lane == p.Lane && q != p && !slices.Contains(p.Resets, q) {
			return false
		}
	}
	return true
}

// phaseName returns the name an enter gives, or what to show instead.
func (e *Engine) phaseName(s *Site, ev *event.Marker) []byte {
	if s.Pair.Name != nil {
		return s.Pair.Name
	}
	if s.Name == None {
		e.stats.BadNames++
		return nameUnreadable
	}
	v := &ev.Values[s.Name]
	switch {
	case v.NullPointer:
		e.stats.BadNames++
		return nameNull
	case v.Unreadable:
		e.stats.BadNames++
		return nameUnreadable
	case v.Truncated:
		e.stats.CutNames++
	}
	if recorder.BlankName(v.Str) {
		e.stats.BadNames++
		return nameEmpty
	}
	return v.Str
}

// open enters a scope and tells about it. false: the recorder refused it.
func (e *Engine) open(th *thread, st *recorder.Stack, s *Site, ev *event.Marker) (*scope, bool) {
	token, rb, err := st.Enter(th.Name, e.phaseName(s, ev), e.attributes(s, ev))
	if err != nil {
		e.refuse(err)
		return nil, false
	}
	sc := e.newScope(token, st, th, ev)
	sc.pair, sc.site = s.Pair, s
	if s.Token != None {
		sc.user = ev.Values[s.Token].Int
	}
	e.emitEnter(&rb, sc, &s.Marker, stream.ReasonNone, ev)
	return sc, true
}

func (e *Engine) newScope(token recorder.Token, st *recorder.Stack, th *thread, ev *event.Marker) *scope {
	slot := int(token.Slot())
	for slot >= len(e.scopes) {
		e.scopes = append(e.scopes, scope{})
	}
	sc := &e.scopes[slot]
	*sc = scope{
		token: token, stack: st, thread: th, start: ev.Time,
		depth: ev.Depth, gaps: th.gaps,
		counters: countersOf(ev), resident: uint64(ev.ResidentPages) * uint64(e.cfg.PageSize),
	}
	return sc
}

func countersOf(ev *event.Marker) stream.Counters {
	return stream.Counters{
		VoluntarySwitches: ev.VoluntarySwitches, InvoluntarySwitches: ev.InvoluntarySwitches,
		MinorFaults: ev.MinorFaults, MajorFaults: ev.MajorFaults,
	}
}

func (e *Engine) refuse(err error) {
	switch {
	case errors.Is(err, recorder.ErrTooDeep):
		e.stats.TooDeep++
	case errors.Is(err, recorder.ErrTooManyScopes):
		e.stats.TooMany++
	default:
		e.stats.Refused++
	}
}

func (e *Engine) emitEnter(rb *recorder.Boundary, sc *scope, m *stream.Marker, why stream.Reason, ev *event.Marker) {
	e.b = stream.Boundary{
		Boundary: *rb, Time: ev.Time, Thread: &sc.thread.Thread, Marker: m, Synthetic: why,
		Resident: e.resident(ev, nil),
		Keyed:    sc.key.pair != nil, Key: sc.key.value,
	}
	e.out.Record(&e.b)
}

func (e *Engine) resident(ev *event.Marker, since *scope) stream.Resident {
	if ev.ResidentPages == 0 {
		return stream.Resident{}
	}
	r := stream.Resident{Bytes: uint64(ev.ResidentPages) * uint64(e.cfg.PageSize), Known: true, Error: e.cfg.ResidentError}
	if since != nil && since.resident != 0 {
		r.Change, r.ChangeKnown = int64(r.Bytes-since.resident), true
	}
	return r
}
