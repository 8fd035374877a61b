// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"cmp"
	"slices"
)

// Active is the active phase of one thread: the deepest scope open on it, on
// whatever lane; of several equally deep ones, the one entered last.
type Active struct {
	SessionID string
	Rank      int32
	ThreadID  int
	Lane      string
	Scope     uint64 // sequence of its enter
	Path      *Path
	Depth     int // of the scope on its stack, from 1
}

// ScopeID is the scope id.
func (a *Active) ScopeID() string { return ScopeID(a.SessionID, a.Scope) }

// Certainty says what an attribution rests on.
type Certainty uint8

// The certainties, least first.
const (
	// NoPhase: no phase was active.
	NoPhase Certainty = iota
	// Ambiguous: several threads were in different phases.
	Ambiguous
	// Unique: all threads that were in a phase were in the same one.
	Unique
	// ThreadLocal: the thread is known, and this was its deepest phase.
	ThreadLocal
	// Exact: the scope is known.
	Exact
)

// String is the word used in output.
func (c Certainty) String() string {
	switch c {
	case Exact:
		return "exact"
	case ThreadLocal:
		return "thread-local"
	case Unique:
		return "unique"
	case Ambiguous:
		return "ambiguous"
	}
	return "none"
}

// Question is what is known of the thing to attribute. Zero fields are not
// known. A known scope, thread or rank is never traded for a guess: when it has
// no active phase, the answer is NoPhase.
type Question struct {
	SessionID string // "" asks all sessions
	Rank      int32  // valid if HasRank; without, all ranks are asked
	HasRank   bool
	Scope     uint64 // sequence of a scope's enter
	ThreadID  int
}

// covers reports whether the question is about that session and rank.
func (q *Question) covers(sessionID string, rank int32) bool {
	return (q.SessionID == "" || q.SessionID == sessionID) && (!q.HasRank || q.Rank == rank)
}

// Attribution is the answer. Candidates are the active phases considered, one per
// thread, ordered by session, rank and thread. Path is nil for NoPhase and
// Ambiguous. Scope is 0 unless there is exactly one candidate.
type Attribution struct {
	Certainty  Certainty
	Path       *Path
	Scope      uint64
	Candidates []Active
	// More is how many further candidates there were, in an answer read back from
	// a file that does not list them all; here it is 0.
	More int
	// Likely is the best guess, made for Ambiguous only; otherwise its Path is
	// nil. It is the candidate whose scope was entered last. Whoever shows it
	// must say that it is a guess. Sequence numbers of different recorders do not
	// say which scope came last: with several, ask for one session and rank.
	Likely Active
}

// Active appends to dst the active phase of every thread that has one, ordered
// by session, rank and thread. It does no I/O and does not allocate when dst has
// room for all open stacks.
func (r *Recorder) Active(dst []Active) []Active {
	b := r.Acquire()
	defer r.Release()
	return b.Active(dst)
}

// Active is Recorder.Active for use in a batch.
func (b Batch) Active(dst []Active) []Active {
	base := len(dst)
	for _, s := range b.r.stacks {
		if len(s.open) > 0 {
			dst = append(dst, b.r.active(s, len(s.open)-1))
		}
	}
	return append(dst[:base], deepest(dst[base:])...)
}

// active describes the i-th scope of s.
func (r *Recorder) active(s *Stack, i int) Active {
	sl := &r.slots[s.open[i]]
	return Active{
		SessionID: s.key.SessionID, Rank: s.key.Rank, ThreadID: s.key.ThreadID, Lane: s.key.Lane,
		Scope: sl.scope, Path: sl.path, Depth: i + 1,
	}
}

// Attribute answers who is active now. Candidates are appended to buf[:0].
func (r *Recorder) Attribute(q Question, buf []Active) Attribution {
	b := r.Acquire()
	defer r.Release()
	return b.Attribute(q, buf)
}

// Attribute is Recorder.Attribute for use in a batch.
func (b Batch) Attribute(q Question, buf []Active) Attribution {
	buf = buf[:0]
	if q.Scope == 0 {
		return attribute(q, b.Active(buf))
	}
	for i := range b.r.slots {
		sl := &b.r.slots[i]
		if sl.scope == q.Scope && q.covers(sl.stack.key.SessionID, sl.stack.key.Rank) {
			buf = append(buf, b.r.active(sl.stack, slices.Index(sl.stack.open, uint32(i))))
		}
	}
	return exact(buf)
}

// deepest sorts all in place and keeps one entry per thread.
func deepest(all []Active) []Active {
	slices.SortFunc(all, func(a, b Active) int {
		return cmp.Or(byThread(a, b), cmp.Compare(b.Depth, a.Depth), cmp.Compare(b.Scope, a.Scope))
	})
	return slices.CompactFunc(all, func(a, b Active) bool { return byThread(a, b) == 0 })
}

func byThread(a, b Active) int {
	return cmp.Or(cmp.Compare(a.SessionID, b.SessionID), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.ThreadID, b.ThreadID))
}

// byEnter orders by when scopes were entered.
func byEnter(a, b Active) int { return cmp.Or(cmp.Compare(a.Scope, b.Scope), byThread(a, b)) }

// exact answers for a known scope, given the places where it is open.
func exact(found []Active) Attribution {
	a := attribute(Question{}, found)
	if a.Certainty == Unique && a.Scope != 0 {
		a.Certainty = Exact
	}
	return a
}

// attribute answers from the active phase of each thread, and filters active in
// place.
func attribute(q Question, active []Active) Attribution {
	active = slices.DeleteFunc(active, func(a Active) bool {
		return !q.covers(a.SessionID, a.Rank) || q.ThreadID != 0 && a.ThreadID != q.ThreadID
	})
	a := Attribution{Candidates: active}
	if len(active) == 0 {
		return a
	}
	for i := range active {
		if !active[i].Path.Equal(active[0].Path) {
			a.Certainty, a.Likely = Ambiguous, slices.MaxFunc(active, byEnter)
			return a
		}
	}
	a.Certainty, a.Path = Unique, active[0].Path
	if len(active) == 1 {
		a.Scope = active[0].Scope
		if q.ThreadID != 0 {
			a.Certainty = ThreadLocal
		}
	}
	return a
}

// AttributeAmong answers a question from active phases that the caller knows, in
// any order; several of one thread count by the deepest, or by the scope asked
// for. It reorders active and keeps it.
func AttributeAmong(q Question, active []Active) Attribution {
	if q.Scope == 0 {
		return attribute(q, deepest(active))
	}
	return exact(slices.DeleteFunc(active, func(a Active) bool {
		return a.Scope != q.Scope || !q.covers(a.SessionID, a.Rank)
	}))
}
