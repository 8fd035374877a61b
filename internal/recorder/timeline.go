// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Timeline answers which phase was active at a time, from spans. It never
// changes once made and may be used from any goroutine.
type Timeline struct {
	spans  []Span
	scopes map[uint64][]int // spans by scope; sequences repeat after a Reset
	tracks []steps
}

// steps is one stack over time: from at[i] on, span[i] is the innermost, or none
// if it is negative.
type steps struct {
	at   []int64
	span []int
}

// NewTimeline indexes spans, in any order. A span lasts from its start up to, not
// including, its end; an open one has no end. Spans of a stack are expected to
// nest, as Replay makes them; one that reaches beyond its enclosing span is cut
// off there.
func NewTimeline(spans []Span) *Timeline {
	tl := &Timeline{spans: slices.Clone(spans), scopes: make(map[uint64][]int)}
	slices.SortStableFunc(tl.spans, func(a, b Span) int {
		return cmp.Or(byThread(place(&a), place(&b)), cmp.Compare(a.Lane, b.Lane),
			cmp.Compare(a.Start, b.Start), cmp.Compare(a.Scope, b.Scope))
	})
	for from := 0; from < len(tl.spans); {
		to := from + 1
		for to < len(tl.spans) && sameStack(&tl.spans[from], &tl.spans[to]) {
			to++
		}
		tl.tracks = append(tl.tracks, tl.track(from, to))
		from = to
	}
	for i := range tl.spans {
		s := &tl.spans[i]
		tl.scopes[s.Scope] = append(tl.scopes[s.Scope], i)
	}
	return tl
}

// At answers who was active at time t. Candidates are appended to buf[:0].
func (tl *Timeline) At(t int64, q Question, buf []Active) Attribution {
	buf = buf[:0]
	if q.Scope != 0 {
		for _, i := range tl.scopes[q.Scope] {
			s := &tl.spans[i]
			if s.Start <= t && t < s.end() && q.covers(s.SessionID, s.Rank) {
				buf = append(buf, place(s))
			}
		}
		return exact(buf)
	}
	for i := range tl.tracks {
		tr := &tl.tracks[i]
		n := sort.Search(len(tr.at), func(i int) bool { return tr.at[i] > t })
		if n > 0 && tr.span[n-1] >= 0 {
			buf = append(buf, place(&tl.spans[tr.span[n-1]]))
		}
	}
	return attribute(q, deepest(buf))
}

// track makes the steps of spans[from:to], which are of one stack and sorted by
// start, outer before inner. It cuts spans to their enclosing ones.
func (tl *Timeline) track(from, to int) steps {
	var tr steps
	var open []int
	closeUntil := func(t int64) {
		for n := len(open); n > 0 && tl.spans[open[n-1]].end() <= t; n = len(open) {
			end := tl.spans[open[n-1]].end()
			open = open[:n-1]
			inner := -1
			if n > 1 {
				inner = open[n-2]
			}
			tr.step(end, inner)
		}
	}
	for i := from; i < to; i++ {
		s := &tl.spans[i]
		closeUntil(s.Start)
		if n := len(open); n > 0 && tl.spans[open[n-1]].end() < s.end() {
			s.End, s.Exit = tl.spans[open[n-1]].end(), max(s.Exit, 1)
		}
		if s.Start < s.end() {
			open = append(open, i)
			tr.step(s.Start, i)
		}
	}
	closeUntil(math.MaxInt64 - 1)
	return tr
}

func (tr *steps) step(at int64, span int) {
	if n := len(tr.at); n > 0 && tr.at[n-1] == at {
		tr.span[n-1] = span
		return
	}
	tr.at = append(tr.at, at)
	tr.span = append(tr.span, span)
}

func (s *Span) end() int64 {
	if s.Open() {
		return math.MaxInt64
	}
	return s.End
}

func place(s *Span) Active {
	return Active{
		SessionID: s.SessionID, Rank: s.Rank, ThreadID: s.ThreadID, Lane: s.Lane,
		Scope: s.Scope, Path: s.Path, Depth: s.Depth,
	}
}

func sameStack(a, b *Span) bool {
	return a.SessionID == b.SessionID && a.Rank == b.Rank && a.ThreadID == b.ThreadID && a.Lane == b.Lane
}
