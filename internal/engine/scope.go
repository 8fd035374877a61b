// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// scope is what the engine keeps about an open scope.
type scope struct {
	token    recorder.Token
	stack    *recorder.Stack
	thread   *thread
	pair     *Pair  // nil for a stand-in, whose enter was lost
	site     *Site  // of its enter, the same
	user     uint64 // the program's own token
	start    int64
	inner    int64 // ns spent in scopes directly inside
	own      own
	counters stream.Counters
	resident uint64 // bytes, 0 if unknown
	keyed    keyedScope
	// watched are its values of Site.Watched, if isWatched.
	watched   [stream.MaxKeyValues]uint64
	isWatched bool
	depth     int32  // of its lane, as the kernel counted it; see kernelCount.level
	gaps      uint32 // of its thread, when it was entered
	// over: it ended while scopes were above it, and is closed for this reason
	// once it is on top.
	over stream.Reason
}

// standIn reports whether the scope stands for one whose enter was lost.
func (sc *scope) standIn() bool { return sc.pair == nil }

// scopes are the open scopes and their stacks.
type scopes struct {
	sessionID string
	rec       *recorder.Recorder
	batch     recorder.Batch
	open      []scope // by recorder slot; zero where none is open
}

// top returns the innermost open scope of a stack.
func (t *scopes) top(st *recorder.Stack) *scope {
	if tk, ok := st.Top(); ok {
		return &t.open[tk.Slot()]
	}
	return nil
}

// at returns the i-th open scope of a stack, 0 being the outermost.
func (t *scopes) at(st *recorder.Stack, i int) *scope { return &t.open[st.At(i).Slot()] }

// newest returns the innermost open scope of a lane, whatever its rank.
func (t *scopes) newest(ln *lane) *scope {
	var out *scope
	for _, st := range ln.stacks {
		if sc := t.top(st); sc != nil && (out == nil || sc.token.Scope() > out.token.Scope()) {
			out = sc
		}
	}
	return out
}

// find returns the innermost scope of a lane that matches.
func (t *scopes) find(ln *lane, is func(*scope) bool) *scope {
	var out *scope
	for _, st := range ln.stacks {
		for i := st.Depth() - 1; i >= 0; i-- {
			sc := t.at(st, i)
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

// stack returns the lane's stack for the process's present rank.
func (t *scopes) stack(th *thread, ln *lane, p *Pair) *recorder.Stack {
	rank := th.process.id.Rank
	for i, st := range ln.stacks {
		if st.Key().Rank == rank {
			if i > 0 {
				ln.stacks[0], ln.stacks[i] = ln.stacks[i], ln.stacks[0]
			}
			return st
		}
	}
	st := t.batch.Stack(recorder.Key{SessionID: t.sessionID, Rank: rank, ThreadID: th.id.TID, Lane: p.LaneName})
	ln.stacks = append(ln.stacks, st)
	last := len(ln.stacks) - 1
	ln.stacks[0], ln.stacks[last] = ln.stacks[last], ln.stacks[0]
	return st
}

// add keeps a scope that the recorder has opened.
func (t *scopes) add(token recorder.Token, st *recorder.Stack, th *thread, ev *event.Marker) *scope {
	slot := int(token.Slot())
	for slot >= len(t.open) {
		t.open = append(t.open, scope{})
	}
	sc := &t.open[slot]
	sc.token, sc.stack, sc.thread = token, st, th
	sc.start, sc.gaps, sc.counters = ev.Time, th.gaps, countersOf(ev)
	return sc
}

func countersOf(ev *event.Marker) stream.Counters {
	return stream.Counters{
		VoluntarySwitches: ev.VoluntarySwitches, InvoluntarySwitches: ev.InvoluntarySwitches,
		MinorFaults: ev.MinorFaults, MajorFaults: ev.MajorFaults,
	}
}

// startOf returns when an open scope began, 0 if it is not open.
func (t *scopes) startOf(ref recorder.ScopeRef) int64 {
	if !ref.Open || int(ref.Slot) >= len(t.open) {
		return 0
	}
	return t.open[ref.Slot].start
}
