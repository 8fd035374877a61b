// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"math"
	"slices"
	"time"
)

// Interval is what happened since the last one.
type Interval struct {
	Took      time.Duration
	Processes []Process
	Pairs     []Pair // by number; there may be more than the last time
}

// Process is one that ran.
type Process struct {
	CPU  time.Duration   // that all its threads used, costs included
	Cost []time.Duration // that hits of each pair took of it
}

// Pair is what the phases of a pair did, in all processes.
type Pair struct {
	Attached  time.Duration // how long its probes were there
	Hits      uint64
	Inside    time.Duration // between enters and exits
	Entered   uint64
	Outermost uint64 // of these: in no other phase
}

// State says for how much of the time a pair is traced.
type State uint8

// The states.
const (
	Traced  State = iota // all the time
	Partly               // for a part of it
	LeftOut              // not at all
)

// Change is what is to be done about a pair.
type Change struct {
	Pair    int
	State   State
	Part    float64 // of the time that it is to be traced: 1, something between, 0
	Share   float64 // what tracing cost the most loaded program when it was decided, of its own CPU time
	ForGood bool    // it does not come back
	Trial   bool    // nobody knows what it costs now: it is traced to find out
}

const (
	// margin is how much of the budget is taken for all of it: what hits cost is an
	// estimate.
	margin = 0.9
	// aim is how much of the budget is used when something has to go, and room how much
	// may be when something comes back: what lies between keeps it from going again.
	aim  = 0.85
	room = 0.70
	// clear is how far above the budget a single interval must be to count; two in a
	// row count from the budget on.
	clear = 1.1
	// raise is by how much more of the time a pair could be traced before it is.
	raise = 1.4
	// MinPart is the least part of the time that is worth the probes.
	MinPart = 0.01
	// least is how much CPU time a program must use, of one CPU, to be judged by: with
	// less, a share says nothing, and the cost is little.
	least = 0.05
	// settle is how long there must have been room before anything comes back.
	settle = 2 * time.Second
	// backOff is how long a pair is away at least, the first time.
	backOff = 4 * time.Second
	// trial is how long a pair is away, the first time, before it is tried although
	// nothing tells that it would cost less now.
	trial = 40 * time.Second
	// strikes is how often a pair may have to go; then it stays away.
	strikes = 3
	// minor is the part of the budget below which a pair is not worth removing.
	minor = 0.01
)

// Controller keeps tracing within a budget. It is for one goroutine.
type Controller struct {
	budget  float64
	now     time.Duration
	pairs   []*pair
	removed []int // left out, the last one last
	above   bool  // the last interval was above the budget, but not by much
	roomy   time.Duration
	changed time.Duration // when anything changed last
	latency time.Duration
}

// pair is what is known of one.
type pair struct {
	state  State
	part   float64
	gone   int           // how often it had to go
	since  time.Duration // when it last changed
	share  float64       // what it costs the most loaded program when it is traced all the time
	hits   float64       // decaying sums
	inside float64
	root   float64
	enters float64
	rate   float64 // hits in a second of the programs' own CPU time, if traced all the time
	// Of when it was left out: pairs that stayed, and their rates together.
	anchors []int
	anchor  float64
}

// New returns a controller for a budget: cost in relation to the program's own CPU
// time, such as 0.02.
func New(budget float64) *Controller { return &Controller{budget: budget * margin} }

// Latency tells how long a change takes; changes then come less often.
func (c *Controller) Latency(d time.Duration) { c.latency = max(d, c.latency/2) }

// Step takes an interval and returns what is to be changed.
func (c *Controller) Step(in Interval) []Change {
	if in.Took <= 0 {
		return nil
	}
	c.now += in.Took
	for len(c.pairs) < len(in.Pairs) {
		c.pairs = append(c.pairs, &pair{part: 1})
	}
	loads := c.learn(in)
	worst := c.worst(loads)
	over := worst > c.budget*clear || worst > c.budget && c.above
	c.above = worst > c.budget
	if over {
		c.roomy, c.above = c.now, false
		return c.tighten(loads, worst)
	}
	if worst > c.budget*room {
		c.roomy = c.now
	}
	return c.loosen(in, loads, worst)
}

// load is what each pair would cost a program if it were traced all the time, in
// relation to the program's own CPU time.
type load []float64

// learn takes what an interval tells of each pair, and returns the loads of the programs
// to judge by.
func (c *Controller) learn(in Interval) []load {
	all := Process{Cost: make([]time.Duration, len(c.pairs))}
	var loads []load
	floor := time.Duration(least * float64(in.Took))
	for i := range in.Processes {
		p := &in.Processes[i]
		all.CPU += p.CPU
		for n, cost := range p.Cost {
			all.Cost[n] += cost
		}
		if p.CPU >= floor && len(in.Processes) > 1 {
			loads = append(loads, c.loadOf(p, &in))
		}
	}
	if all.CPU >= floor {
		loads = append(loads, c.loadOf(&all, &in))
	}
	own := ownCPU(&all)
	for n := range in.Pairs {
		p, seen := c.pairs[n], &in.Pairs[n]
		if !seen.tells(in.Took) {
			continue
		}
		keep := math.Pow(0.5, in.Took.Seconds()/2)
		p.hits, p.inside = p.hits*keep+float64(seen.Hits), p.inside*keep+seen.Inside.Seconds()
		p.enters, p.root = p.enters*keep+float64(seen.Entered), p.root*keep+float64(seen.Outermost)
		if all.CPU < floor {
			p.rate, p.share = 0, 0
			continue
		}
		rate := float64(seen.Hits) / own.Seconds() * float64(in.Took) / float64(seen.Attached)
		share := 0.0
		for _, l := range loads {
			share = max(share, l[n])
		}
		p.rate, p.share = rate, share
	}
	return loads
}

// tells reports whether the pair was traced long enough to tell what it costs.
func (p *Pair) tells(took time.Duration) bool { return p.Attached >= took/200 && p.Attached > 0 }

// ownCPU is the CPU time of a program without what tracing cost it.
func ownCPU(p *Process) time.Duration {
	own := p.CPU
	for _, cost := range p.Cost {
		own -= cost
	}
	return max(own, p.CPU/50, 1) // the cost is an estimate
}

func (c *Controller) loadOf(p *Process, in *Interval) load {
	l := make(load, len(c.pairs))
	own := float64(ownCPU(p))
	for n := range l {
		switch {
		case n < len(in.Pairs) && n < len(p.Cost) && in.Pairs[n].tells(in.Took):
			now := float64(p.Cost[n]) / own * float64(in.Took) / float64(in.Pairs[n].Attached)
			if l[n] = now; c.pairs[n].state == Partly { // a short look: up at once, down by and by
				l[n] = max(now, (now+c.pairs[n].share)/2)
			}
		case c.pairs[n].state == Partly:
			l[n] = c.pairs[n].share // it was not traced in this interval
		}
	}
	return l
}

// cost is what a program pays as things stand.
func (c *Controller) cost(l load) (sum float64) {
	for n, share := range l {
		sum += share * c.pairs[n].part
	}
	return sum
}

// worst is what the most loaded program pays.
func (c *Controller) worst(loads []load) (most float64) {
	for _, l := range loads {
		most = max(most, c.cost(l))
	}
	return most
}

// tighten leaves out what costs most for least, until the rest is within the budget.
func (c *Controller) tighten(loads []load, was float64) []Change {
	var out []Change
	order := c.order(loads)
	for i, n := range order {
		if c.worst(loads) <= c.budget*aim {
			break
		}
		p := c.pairs[n]
		if i+1 < len(order) {
			out = append(out, c.leaveOut(n, was))
			continue
		}
		part := c.fits(loads, n)
		switch {
		case part < MinPart:
			out = append(out, c.leaveOut(n, was))
		case p.state != Partly || part < p.part:
			c.set(n, Partly, part)
			out = append(out, Change{Pair: n, State: Partly, Part: part, Share: was})
		}
	}
	c.remember()
	return out
}

// order lists the pairs that are traced and cost something, those that go first first.
func (c *Controller) order(loads []load) []int {
	var out []int
	for n, p := range c.pairs {
		costs := slices.ContainsFunc(loads, func(l load) bool { return l[n]*p.part > c.budget*minor })
		if p.state != LeftOut && costs {
			out = append(out, n)
		}
	}
	slices.SortStableFunc(out, func(a, b int) int {
		p, q := c.pairs[a], c.pairs[b]
		switch {
		case p.outermost() != q.outermost():
			if q.outermost() {
				return -1
			}
			return 1
		case p.price() > q.price():
			return -1
		case p.price() < q.price():
			return 1
		}
		return 0
	})
	return out
}

// outermost reports whether most phases of the pair are in no other.
func (p *pair) outermost() bool { return p.enters > 0 && 2*p.root >= p.enters }

// price is how many hits a second inside costs.
func (p *pair) price() float64 { return p.hits / (p.inside + 1e-9) }

// fits is the part of the time that a pair could be traced.
func (c *Controller) fits(loads []load, n int) float64 {
	part := 1.0
	for _, l := range loads {
		if l[n] > 0 {
			others := c.cost(l) - l[n]*c.pairs[n].part
			part = min(part, max(c.budget*aim-others, 0)/l[n])
		}
	}
	return part
}

func (c *Controller) set(n int, s State, part float64) {
	p := c.pairs[n]
	p.state, p.part, p.since, c.changed = s, part, c.now, c.now
}

// leaveOut leaves a pair out, and remembers what could tell later that it would cost
// less.
func (c *Controller) leaveOut(n int, was float64) Change {
	p := c.pairs[n]
	c.set(n, LeftOut, 0)
	p.gone++
	p.anchors, p.anchor = nil, 0
	c.removed = append(c.removed, n)
	return Change{Pair: n, State: LeftOut, Share: was, ForGood: p.gone >= strikes}
}

// remember notes by what the pairs that were just left out will be judged: what is
// traced still.
func (c *Controller) remember() {
	for _, n := range c.removed {
		p := c.pairs[n]
		if p.anchors != nil || p.since != c.now {
			continue
		}
		p.anchors = []int{}
		for m, q := range c.pairs {
			if q.state != LeftOut && q.rate > 0 {
				p.anchors, p.anchor = append(p.anchors, m), p.anchor+q.rate
			}
		}
	}
}
