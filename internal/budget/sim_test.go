// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// hitCost is what a hit costs in the simulation.
const hitCost = 600 * time.Nanosecond

// simulation is a number of programs that run the same pairs, traced as a controller
// says.
type simulation struct {
	t        testing.TB
	budget   float64
	c        *Controller
	random   *rand.Rand
	noise    float64 // of what is measured
	pairs    []simPair
	programs []simProgram
	state    []Change // of each pair, as it was changed last
	gone     []int
	log      []string
	now      time.Duration
	since    time.Duration // of the last change, of the load or of what is traced
	phase    float64       // of the duty cycle
	// Of this load: steps that cost too much, pairs that came back or were traced for
	// more of the time, changes of any kind.
	above, returns, changes int
}

// simPair is a pair, inside another one or not.
type simPair struct {
	name   string
	parent int     // -1: in no other
	inside float64 // seconds a phase takes, of CPU time
}

// simProgram is one program: the CPUs that it uses, and how often it enters each pair
// in a second of CPU time.
type simProgram struct {
	cpu   float64
	rates []float64
}

func newSimulation(t testing.TB, budget float64, seed uint64, pairs ...simPair) *simulation {
	s := &simulation{
		t: t, budget: budget, c: New(budget), random: rand.New(rand.NewPCG(seed, 7)), noise: 0.05, pairs: pairs,
		gone: make([]int, len(pairs)),
	}
	for range pairs {
		s.state = append(s.state, Change{Part: 1})
	}
	return s
}

const step = 500 * time.Millisecond

// mostGone is how often a pair may have to go.
const mostGone = 3

// share is what tracing costs a program just now, in relation to its own CPU time.
func (s *simulation) share(p *simProgram) (sum float64) {
	for n, rate := range p.rates {
		sum += 2 * rate * hitCost.Seconds() * s.state[n].Part
	}
	return sum
}

// worst is the same of the most loaded program that uses enough CPU to count.
func (s *simulation) worst() (most float64) {
	for i := range s.programs {
		if s.programs[i].cpu >= least {
			most = max(most, s.share(&s.programs[i]))
		}
	}
	return most
}

// run lets time pass. After two seconds without a change nobody may pay too much.
func (s *simulation) run(d time.Duration) {
	s.t.Helper()
	for end := s.now + d; s.now < end; {
		s.now += step
		changes := s.c.Step(s.measure())
		if len(changes) > 0 {
			s.since = s.now
		}
		for _, c := range changes {
			s.apply(c)
		}
		over := s.worst() > s.budget*(clear+2*s.noise)
		if over {
			s.above++
		}
		if over && s.now-s.since > 2*time.Second || s.above > 4+2*s.returns {
			s.t.Fatalf("%v: tracing costs %.3f, more than %.3f, since %v; %d steps in all\n%s",
				s.now, s.worst(), s.budget, s.now-s.since, s.above, s.history())
		}
	}
	if s.changes > 4*len(s.pairs)+4 {
		s.t.Fatalf("%d changes of %d pairs under one load\n%s", s.changes, len(s.pairs), s.history())
	}
}

func (s *simulation) history() string {
	out := fmt.Sprintf("%+v\n", s.pairs)
	for _, p := range s.programs {
		out += fmt.Sprintf("%+v\n", p)
	}
	for _, l := range s.log {
		out += l + "\n"
	}
	return out
}

// apply does what the controller asks for, and holds it to its rules.
func (s *simulation) apply(c Change) {
	s.t.Helper()
	s.log = append(s.log, fmt.Sprintf("%v: %s %+v", s.now, s.pairs[c.Pair].name, c))
	before := s.state[c.Pair]
	if s.changes++; c.Part > before.Part {
		s.returns++
	}
	if before.ForGood {
		s.t.Errorf("%s changes, although it was left out for good\n%s", s.pairs[c.Pair].name, s.history())
	}
	s.state[c.Pair] = c
	if c.State == LeftOut {
		s.gone[c.Pair]++
		if s.gone[c.Pair] > mostGone || c.ForGood != (s.gone[c.Pair] == mostGone) {
			s.t.Errorf("%s has to go for time %d, for good: %v\n%s", s.pairs[c.Pair].name, s.gone[c.Pair], c.ForGood, s.history())
		}
	}
	if c.State == Partly && before.State == Partly && c.Part < before.Part*1.05 && c.Part > before.Part*0.95 {
		s.t.Errorf("%s goes from %v to %v of the time\n%s", s.pairs[c.Pair].name, before.Part, c.Part, s.history())
	}
	if s.pairs[c.Pair].parent < 0 && c.Part < before.Part {
		s.innerFirst(c.Pair)
	}
}

// innerFirst checks that no inner pair that costs something is traced when an
// outermost one has to go.
func (s *simulation) innerFirst(outer int) {
	s.t.Helper()
	for n, p := range s.pairs {
		if p.parent < 0 || s.state[n].State == LeftOut {
			continue
		}
		for i := range s.programs {
			if cost := 2 * s.programs[i].rates[n] * hitCost.Seconds(); cost > 3*minor*s.budget && s.programs[i].cpu >= least {
				s.t.Errorf("%s has to go, which is outermost, and %s stays, which costs %.4f\n%s", s.pairs[outer].name, p.name, cost, s.history())
			}
		}
	}
}

// measure is what a session would tell of one step.
func (s *simulation) measure() Interval {
	in := Interval{Took: step, Pairs: make([]Pair, len(s.pairs))}
	attached := make([]float64, len(s.pairs)) // share of the step
	s.phase += step.Seconds()
	for n, c := range s.state {
		attached[n] = c.Part
		if c.State == Partly { // for the first part of each second
			from, to := s.phase-step.Seconds(), s.phase
			attached[n] = (overlap(from, to, c.Part)) / step.Seconds()
		}
		in.Pairs[n].Attached = time.Duration(attached[n] * float64(step))
	}
	for i := range s.programs {
		p := &s.programs[i]
		one := Process{Cost: make([]time.Duration, len(s.pairs))}
		own := p.cpu * step.Seconds() / (1 + s.share(p))
		one.CPU = time.Duration(own * 1e9)
		for n, rate := range p.rates {
			entered := rate * own * attached[n] * (1 + s.noise*(2*s.random.Float64()-1))
			one.Cost[n] = time.Duration(2 * entered * float64(hitCost))
			one.CPU += one.Cost[n]
			q := &in.Pairs[n]
			q.Hits += uint64(2 * entered)
			q.Entered += uint64(entered)
			q.Inside += time.Duration(entered * s.pairs[n].inside * 1e9)
			if s.pairs[n].parent < 0 {
				q.Outermost += uint64(entered)
			}
		}
		in.Processes = append(in.Processes, one)
	}
	return in
}

// overlap is how much of a span lies in the first part of each second.
func overlap(from, to, part float64) (sum float64) {
	for at := float64(int(from)); at < to; at++ {
		sum += max(0, min(to, at+part)-max(from, at))
	}
	return sum
}

// load changes what the programs do.
func (s *simulation) load(programs ...simProgram) {
	s.programs, s.since = programs, s.now
	s.above, s.returns, s.changes = 0, 0, 0
	s.log = append(s.log, fmt.Sprintf("%v: load %+v", s.now, programs))
}

// all checks the states of pairs.
func (s *simulation) all(when string, want ...State) {
	s.t.Helper()
	for n := range s.state {
		if s.state[n].State != want[min(n, len(want)-1)] {
			s.t.Errorf("%s: %s is in state %d, want %d\n%s", when, s.pairs[n].name, s.state[n].State, want[min(n, len(want)-1)], s.history())
		}
	}
}

// server is like PostgreSQL: a query with its parts.
var server = []simPair{
	{"query", -1, 45e-6}, {"parse", 0, 4e-6}, {"rewrite", 0, 3e-6}, {"plan", 0, 8e-6}, {"execute", 0, 20e-6}, {"checkpoint", -1, 1},
}

func serving(cpu, queries float64) simProgram {
	return simProgram{cpu, []float64{queries, queries, queries, queries, queries, 0.01}}
}

// Under a heavy load the inner phases go, and what costs most for least first; then the
// query is traced for a part of the time; and all come back when the load is gone.
func TestServer(t *testing.T) {
	s := newSimulation(t, 0.05, 1, server...)
	s.load(serving(1, 500))
	s.run(20 * time.Second)
	s.all("light load", Traced)

	s.load(serving(1, 10000)) // 1.2 % a pair: four use too much of the budget to stay
	s.run(20 * time.Second)
	s.all("heavy load", Traced, LeftOut, LeftOut, Traced, Traced, Traced)
	s.load(serving(1, 30000)) // 3.6 % a pair
	s.run(20 * time.Second)
	s.all("heavier load", Traced, LeftOut, LeftOut, LeftOut, LeftOut, Traced)
	s.load(serving(1, 60000)) // 7.2 %
	s.run(60 * time.Second)
	s.all("no room for one", Partly, LeftOut, LeftOut, LeftOut, LeftOut, Traced)
	s.load(serving(1, 200))
	s.run(40 * time.Second)
	s.all("light load again", Traced)
}

// Steady loads, whatever they are, come to rest: nothing changes after that.
func TestRest(t *testing.T) {
	for queries := 1000.0; queries < 2e6; queries *= 1.3 {
		s := newSimulation(t, 0.03, uint64(queries), server...)
		s.load(serving(1, queries))
		s.run(30 * time.Second)
		before := len(s.log)
		s.run(5 * time.Minute)
		if changes := len(s.log) - before; changes > 0 {
			t.Errorf("%.0f queries: %d changes in five minutes of the same load\n%s", queries, changes, s.history())
		}
	}
}

// The most loaded program counts, not the average; one that does next to nothing does
// not.
func TestMostLoaded(t *testing.T) {
	s := newSimulation(t, 0.05, 1, server...)
	s.load(serving(1, 1000), serving(1, 1000), serving(1, 20000))
	s.run(10 * time.Second)
	if s.state[2].State != LeftOut {
		t.Errorf("one of three is overloaded, and nothing goes\n%s", s.history())
	}
	s = newSimulation(t, 0.05, 1, server...)
	s.load(serving(1, 1000), serving(1, 1000), serving(0.01, 20000))
	s.run(30 * time.Second)
	s.all("the overloaded one is idle", Traced)
}

// A load that comes and goes makes a pair go three times, and then no more.
func TestStrikes(t *testing.T) {
	s := newSimulation(t, 0.05, 1, server...)
	for range 30 {
		s.load(serving(1, 15000))
		s.run(30 * time.Second)
		s.load(serving(1, 100))
		s.run(60 * time.Second)
	}
	if s.gone[2] != mostGone || !s.state[2].ForGood {
		t.Errorf("rewrite had to go %d times\n%s", s.gone[2], s.history())
	}
	if s.state[0].State != Traced {
		t.Errorf("query is not traced\n%s", s.history())
	}
}

// A pair of which nothing tells whether it has become cheaper is tried again, seldom.
func TestTrial(t *testing.T) {
	s := newSimulation(t, 0.05, 1, simPair{"lock", 1, 1e-7}, simPair{"never", -1, 1})
	s.pairs[0].parent = -1
	s.load(simProgram{1, []float64{1e6, 0}})
	s.run(10 * time.Second)
	s.all("one pair", Partly, Traced)
	s.load(simProgram{1, []float64{2e8, 0}})
	s.run(10 * time.Second)
	s.all("not even a part", LeftOut, Traced)
	s.load(simProgram{1, []float64{10, 0}})
	s.run(trial)
	s.all("tried again", Traced)
	if !slices.ContainsFunc(s.state, func(c Change) bool { return c.Trial }) {
		t.Errorf("it is not said to be a trial\n%s", s.history())
	}
}

// What the programs do next to nothing for comes back.
func TestIdle(t *testing.T) {
	s := newSimulation(t, 0.05, 1, server...)
	s.load(serving(1, 60000))
	s.run(10 * time.Second)
	s.all("heavy load", Partly, LeftOut, LeftOut, LeftOut, LeftOut, Traced)
	s.load(simProgram{0, make([]float64, len(server))})
	s.run(30 * time.Second)
	s.all("idle", Traced)
}

// A thousand programs of random pairs under loads that change at random: nobody pays
// too much for longer than two seconds after a change, no pair goes more than three
// times, inner ones go first, and all that has not gone for good is back when the load
// is gone.
func TestRandomPrograms(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		pairs := make([]simPair, 1+r.IntN(10))
		for n := range pairs {
			pairs[n] = simPair{fmt.Sprint("pair", n), -1, 1e-6 * (1 + 100*r.Float64())}
			if n > 0 && r.IntN(3) > 0 {
				pairs[n].parent = r.IntN(n)
				pairs[n].inside = pairs[pairs[n].parent].inside * r.Float64()
			}
		}
		s := newSimulation(t, []float64{0.01, 0.02, 0.05, 0.10}[r.IntN(4)], seed, pairs...)
		for range 2 + r.IntN(4) {
			s.load(randomLoad(r, pairs)...)
			s.run(time.Duration(5+r.IntN(60)) * time.Second)
		}
		idle := randomLoad(r, pairs)
		for i := range idle {
			idle[i].rates = make([]float64, len(pairs))
			if seed%2 == 0 {
				idle[i].cpu = 0
			}
		}
		s.load(idle...)
		s.run(10 * time.Minute)
		for n, c := range s.state {
			if c.State != Traced && !c.ForGood {
				t.Errorf("seed %d: %s is in state %d when the load is gone\n%s", seed, pairs[n].name, c.State, s.history())
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// randomLoad is some programs that do something, each in its own measure.
func randomLoad(r *rand.Rand, pairs []simPair) []simProgram {
	out := make([]simProgram, 1+r.IntN(4))
	base := make([]float64, len(pairs))
	for n, p := range pairs {
		switch {
		case p.parent >= 0:
			base[n] = base[p.parent] * 3 * r.Float64()
		case r.IntN(4) > 0:
			base[n] = 1e5 * r.Float64() * r.Float64()
		}
	}
	for i := range out {
		out[i] = simProgram{2 * r.Float64(), slices.Clone(base)}
		for n := range base {
			out[i].rates[n] *= 0.5 + r.Float64()
		}
	}
	return out
}
