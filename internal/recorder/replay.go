// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"errors"
	"fmt"
)

// Span is a scope with its times. Times are in the unit and clock of whoever
// called Replay.Add.
type Span struct {
	SessionID  string
	Rank       int32
	ThreadID   int
	ThreadName string
	Lane       string
	Scope      uint64 // sequence of the enter
	Parent     uint64 // 0 if there is none
	Exit       uint64 // sequence of the exit, 0 while open
	Path       *Path
	Depth      int // on its stack, from 1
	Cut        Cut
	Attributes []byte // the span's own
	Start      int64
	End        int64 // of no meaning while open
}

// Open reports whether the exit has not been seen.
func (s *Span) Open() bool { return s.Exit == 0 }

// ScopeID is the scope id.
func (s *Span) ScopeID() string { return ScopeID(s.SessionID, s.Scope) }

// Why a replay refuses a boundary.
var (
	// ErrOrphanExit: the enter lies before the beginning of the stream. No scope
	// of the stack is open, so the stream itself is fine.
	ErrOrphanExit = errors.New("its enter is not in the stream: start the replay earlier, or pass over it")
	// ErrNotNested: the boundary is not of the innermost scope.
	ErrNotNested = errors.New("it does not nest: boundaries are missing, or are not in the order in which they were recorded")
	// ErrOrder: sequence or time goes backwards on its stack.
	ErrOrder = errors.New("it comes before its predecessor: sort the boundaries of each thread by sequence")
)

// Replay turns boundaries back into spans. It checks the stream on its own and
// shares no code with Recorder. Boundaries of one stack must come in order;
// different stacks may interleave in any way. It is for one goroutine.
type Replay struct {
	emit   func(Span)
	tracks map[Key]*track
}

type track struct {
	open     []Span
	sequence uint64
	time     int64
}

// NewReplay returns a replay that hands each span to emit at its exit, inner
// ones first.
func NewReplay(emit func(Span)) *Replay {
	return &Replay{emit: emit, tracks: make(map[Key]*track)}
}

// Add takes the next boundary, which happened at time t. An error wraps
// ErrOrphanExit, ErrNotNested or ErrOrder; the boundary is then ignored.
func (p *Replay) Add(b *Boundary, t int64) error {
	k := Key{SessionID: b.SessionID, Rank: b.Rank, ThreadID: b.ThreadID, Lane: b.Lane}
	tr := p.tracks[k]
	if tr == nil {
		tr = &track{time: t}
		p.tracks[k] = tr
	}
	err := tr.add(b, t, p.emit)
	if len(tr.open) == 0 && err != nil && tr.sequence == 0 {
		delete(p.tracks, k)
	}
	if err != nil {
		return fmt.Errorf("replay %s %d of scope %s: %w", b.Action, b.Sequence, printable(b.ScopeID()), err)
	}
	return nil
}

func (tr *track) add(b *Boundary, t int64, emit func(Span)) error {
	if b.Sequence <= tr.sequence || t < tr.time {
		return ErrOrder
	}
	n := len(tr.open)
	switch b.Action {
	case Enter:
		if n > 0 && tr.open[n-1].Scope != b.Parent {
			return ErrNotNested
		}
		depth := n + 1
		if n == 0 && b.Parent != 0 {
			depth = b.Path.Depth() // what encloses it began before the stream
		} else if n > 0 {
			depth = tr.open[n-1].Depth + 1
		}
		tr.open = append(tr.open, Span{
			SessionID: b.SessionID, Rank: b.Rank, ThreadID: b.ThreadID, ThreadName: b.ThreadName, Lane: b.Lane,
			Scope: b.Scope, Parent: b.Parent, Path: b.Path, Depth: depth, Cut: b.Cut,
			Attributes: bytes.Clone(b.Attributes), Start: t,
		})
	default:
		if n == 0 {
			return ErrOrphanExit
		}
		s := tr.open[n-1]
		if s.Scope != b.Scope {
			return ErrNotNested
		}
		s.End, s.Exit = t, b.Sequence
		tr.open = tr.open[:n-1]
		emit(s)
	}
	tr.sequence, tr.time = b.Sequence, t
	return nil
}

// Open returns the spans whose exit has not come, outer ones of a stack before
// inner ones.
func (p *Replay) Open() []Span {
	var open []Span
	for _, tr := range p.tracks {
		open = append(open, tr.open...)
	}
	return open
}
