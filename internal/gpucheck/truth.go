// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// passed is what examples/gpu/loops.c says about one boundary: a line of its log.
// Bytes are the program's own allocations.
type passed struct {
	Thread      int      `json:"thread"`
	Path        []string `json:"path"`
	Exit        bool     `json:"exit"`
	BeforeNS    int64    `json:"before_ns"` // CLOCK_MONOTONIC, around the marker
	AfterNS     int64    `json:"after_ns"`
	BeforeBytes int64    `json:"before_bytes"`
	AfterBytes  int64    `json:"after_bytes"`
	// Calls that had ended before, and begun until after. If they are as many, none
	// was under way.
	CallsEnded int64 `json:"calls_ended"`
	CallsBegun int64 `json:"calls_begun"`
}

// known reports whether it is certain what was in use at the boundary.
func (p *passed) known() bool { return p.CallsEnded == p.CallsBegun }

// baseline is the phase in which the loops have nothing allocated.
const baseline = "baseline"

// tally says how the figures of loops compare with the truth.
type tally struct {
	counts
	Problems []string
	Trace    string // its file, if something is wrong
}

// counts are of boundaries, and of changes at exits. A false figure that is marked
// is not the truth and said to be in doubt.
type counts struct {
	Boundaries  int
	Unchecked   int // calls of the program were under way
	Certain     int
	FalseMarked int
	Outside     int // of these, those whose truth is not between low and high
	False       int // not marked

	Exits             int
	CertainChanges    int
	NoChange          int // one read served both ends
	FalseChangeMarked int
	FalseChange       int // not marked

	Width int64 // bytes from low to high of the uncertain ones, in sum
	Reads int
	NS    int64 // from the first boundary to the last
}

func (c *counts) add(o *counts) {
	c.Boundaries += o.Boundaries
	c.Unchecked += o.Unchecked
	c.Certain += o.Certain
	c.FalseMarked += o.FalseMarked
	c.Outside += o.Outside
	c.False += o.False
	c.Exits += o.Exits
	c.CertainChanges += o.CertainChanges
	c.NoChange += o.NoChange
	c.FalseChangeMarked += o.FalseChangeMarked
	c.FalseChange += o.FalseChange
	c.Width += o.Width
	c.Reads += o.Reads
	c.NS += o.NS
}

func (t *tally) ok() bool { return t.False == 0 && t.FalseChange == 0 && len(t.Problems) == 0 }

func (t *tally) problem(format string, args ...any) {
	t.Problems = append(t.Problems, fmt.Sprintf(format, args...))
}

// bounds are what the check knows beforehand.
type bounds struct {
	// base is what others use; nil: take it from the phase baseline.
	base *int64
	// tolerance is by how many bytes sizes may differ.
	tolerance int64
}

// check puts the log of loops beside the trace and counts.
func check(log, trace io.Reader, b bounds) (*tally, error) {
	var d device
	logged, err := readLog[passed](log, &d)
	if err != nil {
		return nil, err
	}
	t, err := readTrace(trace)
	if err != nil {
		return nil, err
	}
	c := &checking{tally: &tally{Problems: t.problems}, device: d, tolerance: b.tolerance, entered: map[string]passed{}}
	base := b.base
	if base == nil {
		base = t.baseline(d)
	}
	if base == nil {
		c.problem("the trace does not say for certain what was in use before the loops; if reads are slow, hold longer")
		return c.tally, nil
	}
	c.base = *base
	c.boundaries(logged, t)
	c.Problems = append(c.Problems, telescope(t, d)...)
	return c.tally, nil
}

// baseline returns what was in use at the end of that phase, nil if that is not
// certain.
func (t *traced) baseline(d device) *int64 {
	for _, l := range t.exits[baseline] {
		if r := pick(l.Metadata.GPU, d); r != nil && r.Doubt != nil && len(r.Doubt) == 0 {
			return r.Used
		}
	}
	return nil
}

// checking compares one log with one trace.
type checking struct {
	*tally
	device    device
	base      int64
	tolerance int64
	entered   map[string]passed // by scope
}

// boundaries compares the boundaries of each thread, in order.
func (c *checking) boundaries(logged []passed, t *traced) {
	told := map[int][]line{}
	for _, l := range t.boundaries {
		if l.Path[0] != baseline {
			told[l.Metadata.Scope.ThreadID] = append(told[l.Metadata.Scope.ThreadID], l)
		}
	}
	first, last := int64(math.MaxInt64), int64(0)
	for _, p := range logged {
		list := told[p.Thread]
		if len(list) == 0 {
			c.problem("thread %d: the trace ends before %s", p.Thread, &p)
			return
		}
		l := list[0]
		told[p.Thread] = list[1:]
		if !p.is(&l) {
			c.problem("thread %d: the trace has %s of %s at %d ns, where the program passed %s",
				p.Thread, l.EventType, join(l.Path), l.MonotonicNS, &p)
			return
		}
		first, last = min(first, p.BeforeNS), max(last, p.AfterNS)
		c.boundary(p, &l)
	}
	for thread, list := range told {
		if len(list) > 0 {
			c.problem("thread %d: %d boundaries too many in the trace", thread, len(list))
		}
	}
	if c.Boundaries == 0 {
		c.problem("the program's log has no boundaries")
		return
	}
	c.NS = last - first
	for _, at := range t.samples {
		if at >= first && at <= last {
			c.Reads++
		}
	}
}

// is reports whether the line is of that boundary.
func (p *passed) is(l *line) bool {
	return p.Exit == (l.EventType == "phase_exit") && slices.Equal(p.Path, l.Path) &&
		p.BeforeNS <= l.MonotonicNS && l.MonotonicNS <= p.AfterNS
}

// String names the boundary in messages.
func (p *passed) String() string {
	kind := "enter"
	if p.Exit {
		kind = "exit"
	}
	return fmt.Sprintf("the %s of %s at %d ns", kind, join(p.Path), p.BeforeNS)
}

func (c *checking) boundary(p passed, l *line) {
	c.Boundaries++
	r := pick(l.Metadata.GPU, c.device)
	if r == nil || r.Used == nil || r.Low == nil || r.High == nil || r.Doubt == nil {
		c.problem("thread %d: no figure at %s", p.Thread, &p)
		return
	}
	if p.known() && p.BeforeBytes != p.AfterBytes {
		c.problem("thread %d: the program's log contradicts itself at %s", p.Thread, &p)
	}
	if len(r.Doubt) == 0 {
		c.Certain++
	} else {
		c.Width += *r.High - *r.Low
	}
	truth := c.base + p.BeforeBytes
	switch {
	case !p.known():
		c.Unchecked++
	case off(*r.Used, truth) <= c.tolerance:
	case len(r.Doubt) > 0:
		c.FalseMarked++
		if truth < *r.Low-c.tolerance || truth > *r.High+c.tolerance {
			c.Outside++
		}
	default:
		c.False++
		c.problem("thread %d: %s: %d bytes in use, said to be certain, and %d is the truth", p.Thread, &p, *r.Used, truth)
	}
	if p.Exit {
		c.change(&p, c.entered[l.ScopeID], r)
		delete(c.entered, l.ScopeID)
	} else {
		c.entered[l.ScopeID] = p
	}
}

func (c *checking) change(p *passed, enter passed, r *reading) {
	c.Exits++
	if r.Change == nil {
		c.NoChange++
		return
	}
	if r.ChangeDoubt == nil {
		c.problem("thread %d: %s does not say whether its change is in doubt", p.Thread, p)
		return
	}
	if len(r.ChangeDoubt) == 0 {
		c.CertainChanges++
	}
	truth := p.BeforeBytes - enter.BeforeBytes
	switch {
	case !p.known() || !enter.known() || off(*r.Change, truth) <= c.tolerance:
	case len(r.ChangeDoubt) > 0:
		c.FalseChangeMarked++
	default:
		c.FalseChange++
		c.problem("thread %d: %s: a change by %d bytes, said to be certain, and %d is the truth", p.Thread, p, *r.Change, truth)
	}
}
