// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"math"
	"time"

	"github.com/phasetrace/phasetrace/internal/engine"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// readInterval is how often what the kernel has counted is read.
const readInterval = time.Second

// countingInterval is how often the ring buffer is read when nothing wakes the
// reader: only threads' and processes' ends are told there, and they do.
const countingInterval = 100 * time.Millisecond

// drainInterval is how often the ring buffer is read when nothing wakes the
// reader.
func (s *session) drainInterval() time.Duration {
	if s.count != nil {
		return countingInterval
	}
	return drainInterval
}

// counting is a session whose phases are counted in the kernel: no record tells
// of a boundary, the figures are read once a second and at the end. A nil
// counting does nothing: the session records.
type counting struct {
	s      *session
	told   map[uint32]loader.AggregateSite // sites the programs know
	polled int64                           // when the figures were last read
	tree   *pathTree
	// processes by the number of their path; they outlive what ends.
	processes map[uint32]*stream.Process
	violated  map[loader.AggregateDefect]bool // defects told, by what makes them one
	last      *loader.Aggregate               // as it was at the end
	hit       map[uint32]bool                 // sites that were, by the end
}

func newCounting(s *session) *counting {
	return &counting{
		s: s, told: make(map[uint32]loader.AggregateSite), tree: newPathTree(),
		processes: make(map[uint32]*stream.Process), violated: make(map[loader.AggregateDefect]bool), hit: make(map[uint32]bool),
	}
}

// countingRing is the size of the ring buffer in bytes when none is asked for:
// nothing comes through it but the lives of threads and processes.
const countingRing = 1 << 20

// options fits the tracer's options to counting.
func (c *counting) options(o *loader.Options) {
	if c == nil {
		return
	}
	o.Aggregate, o.AggregateReject, o.WakeInterval = true, c.s.o.Policy == engine.PolicyReject, 0
	if o.RingBytes == 0 {
		o.RingBytes = countingRing
	}
}

// tell makes the programs know every attached site, and what has changed about
// those they know: a pair that is new may end scopes of older ones.
func (c *counting) tell() error {
	if c == nil {
		return nil
	}
	if n := len(c.s.choice.pairs); n > loader.MaxAggregatePairs {
		return fmt.Errorf("--aggregate: %d pairs, at most %d: choose some with --pair", n, loader.MaxAggregatePairs)
	}
	for id, s := range c.s.choice.sites {
		if !s.attached {
			continue // not attached
		}
		how := s.counted(uint32(id), c.s.choice.pairs)
		old, known := c.told[how.Site]
		if known {
			how.Gate = old.Gate // attached again, for another process
		}
		if known && how == old {
			continue
		}
		if err := c.s.tracer.PutAggregateSite(how); err != nil {
			return err
		}
		c.told[how.Site] = how
	}
	return nil
}

// begin lets the programs count.
func (c *counting) begin() error {
	if c == nil {
		return nil
	}
	return c.s.tracer.AggregateUntil(math.MaxInt64)
}

// end makes them stop, before probes are removed one by one.
func (c *counting) end(now int64) error {
	if c == nil {
		return nil
	}
	return c.s.tracer.AggregateUntil(now)
}

// poll reads the figures when it is time to, and tells of new violations.
func (c *counting) poll(now int64) error {
	if c == nil || now-c.polled < int64(readInterval) {
		return nil
	}
	c.polled = now
	return c.read()
}

// finish reads the figures for the last time: nothing counts any more.
func (c *counting) finish() error {
	if c == nil {
		return nil
	}
	if err := c.read(); err != nil {
		return err
	}
	return c.noteHits()
}

func (c *counting) read() error {
	a, err := c.s.tracer.ReadAggregate()
	if err != nil {
		return err
	}
	c.last = a
	c.nameProcesses(a)
	for _, v := range c.violations(a) {
		c.report(v)
	}
	return nil
}

// nameProcesses notes the processes that have paths while they are known.
func (c *counting) nameProcesses(a *loader.Aggregate) {
	for i := range a.Paths {
		p := a.Paths[i].Process
		if p == nil || c.processes[a.Paths[i].ID] != nil {
			continue
		}
		pid := p.PID
		if pid == 0 {
			pid = p.HostPID
		}
		if known := c.s.engine.Process(pid); known != nil {
			c.processes[a.Paths[i].ID] = known
			continue
		}
		c.processes[a.Paths[i].ID] = &stream.Process{PID: pid, HostPID: p.HostPID, Rank: c.s.o.Rank}
	}
}

// report tells of a violation unless it has been told.
func (c *counting) report(v countedViolation) {
	key := loader.AggregateDefect{
		Process: v.defect.Process, Site: v.defect.Site, Kind: v.defect.Kind,
		Closing: v.defect.Closing, Top: v.defect.Top,
	}
	if !c.violated[key] {
		c.violated[key] = true
		first := v.First
		c.s.queue.Record(&first)
	}
}

// summarise adds what was counted to the summary, after finish.
func (c *counting) summarise(sum *stream.Summary) {
	if c == nil || c.last == nil {
		return
	}
	a, t := c.last, &c.last.Totals
	for _, v := range c.violations(a) {
		sum.Violations = append(sum.Violations, v.ViolationCount)
	}
	engine.SortViolations(sum.Violations)
	sum.ViolationTotal = t.Violations
	counted, processes := c.merge(a)
	counted.Merge(c.s.queue.figures) // samples of device memory
	counted.Snapshot(sum)
	sum.Processes, sum.Orphans = processes, t.Orphans
	var all loader.AggregateFigures
	for i := range a.Paths {
		all.Add(&a.Paths[i].AggregateFigures)
	}
	sum.Received = all.Entered + all.Ended + t.TooDeep + t.DeepExits + t.Resets + t.Late + t.Outside + t.Orphans + t.Unclosed
	sum.Notes = append(sum.Notes, countedNotes(a, all.Unbucketed, c.s.o.GPU != nil)...)
}

// noteHits marks the sites that were hit.
func (c *counting) noteHits() error {
	for id := range c.told {
		hit, err := c.s.tracer.AggregateSiteHit(id)
		if err != nil {
			return err
		}
		if hit {
			c.hit[id] = true
		}
	}
	return nil
}

// countedNotes lists what the user should know.
func countedNotes(a *loader.Aggregate, unbucketed uint64, gpu bool) []stream.Note {
	t := &a.Totals
	var other, blank uint64
	for i := range a.Paths {
		switch p := &a.Paths[i]; {
		case p.Overflow:
			other += p.Entered
		case p.Literal == loader.LiteralNone && recorder.BlankName([]byte(p.Name)):
			blank += p.Entered
		}
	}
	var out []stream.Note
	for _, n := range []stream.Note{
		{What: "phase names that were null, empty or unreadable", Count: t.BadNames + blank},
		{What: fmt.Sprintf("phase names cut at %d bytes", loader.MaxAggregateName), Count: t.CutNames},
		{What: fmt.Sprintf("enters beyond %d nested phases on one thread, not traced", loader.MaxAggregateDepth), Count: t.TooDeep},
		{What: "exits of phases that had been closed for them after a violation", Count: t.Late},
		{What: "markers hit while probes were being attached or removed, left out", Count: t.Outside},
		{What: "phases booked under \"(other)\" because there are too many paths", Count: other},
		{What: "phases whose durations are in the totals and not in p50 and p99, for want of room", Count: unbucketed},
		{What: "violations that are counted and not listed, for want of room", Count: t.Unlisted},
	} {
		if n.Count > 0 {
			out = append(out, n)
		}
	}
	out = append(out, stream.Note{What: "phases were counted in the kernel (--aggregate): no attributes, thread counters or resident memory"})
	if gpu {
		out = append(out, stream.Note{What: "GPU memory was sampled at intervals, not at phase boundaries (--aggregate)"})
	}
	return out
}

// countedViolation is a violation, and how the kernel counted it.
type countedViolation struct {
	stream.ViolationCount
	defect *loader.AggregateDefect
}

// violations makes records of what the kernel counted.
func (c *counting) violations(a *loader.Aggregate) []countedViolation {
	if len(a.Defects) == 0 {
		return nil
	}
	paths := c.tree.of(a, c.pairName)
	var out []countedViolation
	for i := range a.Defects {
		d := &a.Defects[i]
		th := &stream.Thread{TID: d.TID, HostTID: d.HostTID, Name: d.ThreadName, Process: c.processes[d.Process]}
		if th.TID == 0 {
			th.TID = th.HostTID
		}
		s := c.s.choice.sites[d.Site]
		ref := func(node uint32) recorder.ScopeRef {
			if node == 0 {
				return recorder.ScopeRef{}
			}
			return recorder.ScopeRef{
				Open: true, Path: paths[node], SessionID: c.s.o.SessionID,
				ThreadID: th.TID, ThreadName: th.Name, Lane: s.pair.LaneName,
			}
		}
		v := stream.Violation{
			Time: d.Time, Unix: c.s.clock.At(d.Time), Thread: th, Marker: &s.Marker,
			Err: &recorder.ProtocolError{
				Kind: recorder.Kind(d.Kind), ThreadID: th.TID, Closing: ref(d.Closing), Top: ref(d.Top),
			},
			ClosingStart: d.ClosingStart, TopStart: d.TopStart,
			Repaired: c.repaired(recorder.Kind(d.Kind)),
		}
		out = append(out, countedViolation{stream.ViolationCount{First: v, Count: d.Count}, d})
	}
	return out
}

// repaired says what the kernel did about the stack.
func (c *counting) repaired(k recorder.Kind) string {
	switch {
	case k != recorder.NotLIFO:
		return "nothing had to be done"
	case c.s.o.Policy == engine.PolicyReject:
		return "the stack was left as it is (--on-violation reject)"
	}
	return "what was open inside it was closed"
}

// pairName is the literal name of a pair.
func (c *counting) pairName(n uint8) string {
	if int(n) < len(c.s.choice.pairs) {
		return string(c.s.choice.pairs[n].Name)
	}
	return ""
}
