// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

const (
	// countedInterval is how often what the kernel has counted is read.
	countedInterval = time.Second
	// lifeInterval is how often the rings are read when nothing wakes the
	// reader: only threads' and processes' ends are told there, and they do.
	lifeInterval = 100 * time.Millisecond
	// countingRing is the size of the rings in bytes when none is asked for:
	// nothing comes through them but the lives of threads and processes.
	countingRing = 1 << 20
)

// counting is the mode in which phases are counted in the kernel: no record tells
// of a boundary, the figures are read once a second and at the end.
type counting struct {
	cfg    *Config
	core   *core
	counts *loader.Counts
	tree   *pathTree
	polled int64 // when the figures were last read

	mu    sync.Mutex                      // guards what follows: the watcher adds to it
	known map[uint32]loader.AggregateSite // sites the programs know
	sites map[uint32]*site
	pairs []*pair

	// processes by the number of their path; they outlive what ends.
	processes map[uint32]*stream.Process
	ended     map[int]*stream.Process         // by PID, since the last reading
	violated  map[loader.AggregateDefect]bool // defects told, by what makes them one
	last      *loader.Aggregate               // as it was at the last reading
	hit       map[uint32]bool                 // sites that were, by the end

	// When what was seen last, in readings; see watch.
	readings, early int64
	orphans         uint64
	entered         map[*recorder.Path]uint64 // outermost phases
	grown           map[*recorder.Path]int64
}

func newCounting(cfg *Config, core *core) *counting {
	return &counting{
		cfg: cfg, core: core, tree: newPathTree(),
		known: make(map[uint32]loader.AggregateSite), sites: make(map[uint32]*site), hit: make(map[uint32]bool),
		processes: make(map[uint32]*stream.Process), violated: make(map[loader.AggregateDefect]bool),
		grown: make(map[*recorder.Path]int64), ended: make(map[int]*stream.Process),
	}
}

func (c *counting) refuses(p usdt.PairSpec) error {
	if p.Keyed() {
		return ErrCountKeyed
	}
	return nil
}

func (c *counting) layOut(p *pair, effect probe.Effect, arch probe.Arch, in *usdt.Site) (*site, probe.Site, []string) {
	return planCounted(p, effect, arch, in)
}

func (c *counting) keepsContext() bool { return false }

// releases: the kernel's paths name pairs by their number.
func (c *counting) releases() bool { return false }

func (c *counting) interval() time.Duration { return lifeInterval }

func (c *counting) use(t *loader.Tracer) { c.counts = t.Counts() }

// options fits the tracer's options to counting.
func (c *counting) options(o *loader.Options) {
	o.Aggregate, o.AggregateReject, o.WakeInterval = true, c.cfg.Policy == engine.PolicyReject, 0
	if o.RingBytes == 0 {
		o.RingBytes = countingRing
	}
}

// sitesChanged makes the programs know every attached site, and what has changed
// about those they know: a pair that is new may end scopes of older ones.
func (c *counting) sitesChanged(pl *plan) error {
	if n := len(pl.pairs); n > loader.MaxAggregatePairs {
		return fmt.Errorf("count in the kernel: %d pairs, at most %d: choose some of them", n, loader.MaxAggregatePairs)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pairs = slices.Clone(pl.pairs)
	var changed []loader.AggregateSite
	for id, s := range pl.sites {
		if !s.attached || s.removed {
			continue
		}
		how := s.counted(id, c.pairs)
		old, known := c.known[id]
		if known {
			how.Gate = old.Gate // attached again, for another process
		}
		if known && how == old {
			continue
		}
		changed = append(changed, how)
		c.known[id], c.sites[id] = how, s
	}
	return c.counts.PutSites(changed)
}

func (c *counting) removing(sites []uint32) error { return c.counts.RemoveSites(sites) }

func (c *counting) begin() error { return c.counts.Until(math.MaxInt64) }

func (c *counting) detaching(now int64) error { return c.counts.Until(now) }

// poll reads the figures when it is time, and reports new violations.
func (c *counting) poll(now int64) error {
	if elapsed(c.polled, now) < countedInterval {
		return nil
	}
	c.polled = now
	return c.read()
}

// finish reads the figures for the last time: nothing is counted any more.
func (c *counting) finish(*plan) error {
	if err := c.read(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.known {
		hit, err := c.counts.SiteHit(id)
		if err != nil {
			return err
		}
		c.hit[id] = hit
	}
	return nil
}

func (c *counting) read() error {
	a, err := c.counts.Read()
	if err != nil {
		return err
	}
	c.core.mu.Lock()
	defer c.core.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = a
	c.nameProcesses(a)
	c.watch(a)
	for _, v := range c.violations(a) {
		c.report(v)
	}
	return nil
}

// nameProcesses notes who the processes that have paths are, while they are known.
func (c *counting) nameProcesses(a *loader.Aggregate) {
	for i := range a.Paths {
		id, p := a.Paths[i].ID, a.Paths[i].Process
		if p == nil {
			continue
		}
		pid := p.PID
		if pid == 0 {
			pid = p.HostPID
		}
		before, now := c.processes[id], c.core.engine.Process(pid)
		if before == nil {
			now = nearest(p.StartTime, now, c.ended[pid])
		}
		switch {
		case now != nil && (before == nil || before.StartTime == now.StartTime):
			c.processes[id] = now
		case before == nil:
			c.processes[id] = &stream.Process{PID: pid, HostPID: p.HostPID, Rank: c.cfg.Rank}
		}
	}
	clear(c.ended)
}

// nearest returns which of two processes with one id, each of which may be nil,
// started nearer to a time, in ns since boot.
func nearest(started uint64, a, b *stream.Process) *stream.Process {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	const tick = 10_000_000 // ns, as /proc counts: USER_HZ is 100
	off := func(p *stream.Process) uint64 {
		at := p.StartTime * tick
		return max(at, started) - min(at, started)
	}
	if off(a) <= off(b) {
		return a
	}
	return b
}

// maxEnded bounds the processes remembered that end between two readings.
const maxEnded = 1 << 14

// note remembers who has ended until its paths are read. Of two with one id it keeps
// the first. The core is locked.
func (c *counting) note(p *stream.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended[p.PID] == nil && len(c.ended) < maxEnded {
		c.ended[p.PID] = p
	}
}

// report reports a violation, unless it already has.
func (c *counting) report(v countedViolation) {
	key := loader.AggregateDefect{
		Process: v.defect.Process, Site: v.defect.Site, Kind: v.defect.Kind,
		Closing: v.defect.Closing, Top: v.defect.Top,
	}
	if !c.violated[key] {
		c.violated[key] = true
		first := v.First
		c.core.out.Record(&first)
	}
}

func (c *counting) hits(id uint32) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hit[id] {
		return 1
	}
	return 0
}

// summarise adds what was counted by the last reading. The core is locked.
func (c *counting) summarise(sum *stream.Summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return
	}
	a, t := c.last, &c.last.Totals
	for _, v := range c.violations(a) {
		sum.Violations = append(sum.Violations, v.ViolationCount)
	}
	engine.SortViolations(sum.Violations)
	sum.ViolationTotal = t.Violations
	counted, processes := c.merge(a)
	counted.Merge(c.core.out.figures) // samples of device memory
	counted.Snapshot(sum)
	sum.Processes = processes
	sum.Orphans, sum.OrphanReasons = countedOrphans(t)
	var all loader.AggregateFigures
	for i := range a.Paths {
		all.Add(&a.Paths[i].AggregateFigures)
	}
	sum.Received = all.Entered + all.Ended + t.TooDeep + t.DeepExits + t.Resets + t.Late + t.Outside + t.Orphans + t.Unclosed
	sum.Notes = append(sum.Notes, countedNotes(a, all.Unbucketed, c.cfg.GPU != nil)...)
	sum.Notes = append(sum.Notes, laneNotes(c.pairs)...)
}

// laneNotes tells of phases whose self time is not what it is when they are
// recorded: the kernel keeps each lane for itself.
func laneNotes(pairs []*pair) []stream.Note {
	lanes := make(map[string]bool)
	var names []string
	for _, p := range pairs {
		lanes[p.LaneName] = true
		if p.LaneName != "" && !slices.Contains(names, p.LaneName) {
			names = append(names, p.LaneName)
		}
	}
	if len(lanes) < 2 {
		return nil
	}
	return []stream.Note{{What: fmt.Sprintf("self times contain what the thread did in phases of other lanes (%s): the kernel adds each lane up for itself",
		strings.Join(names, ", "))}}
}

// countedOrphans returns the orphan exits and their reasons, of which the kernel
// keeps one.
func countedOrphans(t *loader.AggregateTotals) (uint64, []stream.OrphanCount) {
	out := []stream.OrphanCount{{Reason: stream.OrphanUnknown, Count: t.Orphans}, {Reason: stream.OrphanRepaired, Count: t.Late}}
	out = slices.DeleteFunc(out, func(o stream.OrphanCount) bool { return o.Count == 0 })
	slices.SortStableFunc(out, func(a, b stream.OrphanCount) int { return cmp.Compare(b.Count, a.Count) })
	return t.Orphans + t.Late, out
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
	out := present(
		stream.Note{What: "phase names that were null, empty or unreadable", Count: t.BadNames + blank},
		stream.Note{What: fmt.Sprintf("phase names cut at %d bytes", loader.MaxAggregateName), Count: t.CutNames},
		stream.Note{What: fmt.Sprintf("enters beyond %d nested phases on one thread, not traced", loader.MaxAggregateDepth), Count: t.TooDeep},
		stream.Note{What: "markers hit while probes were being attached or removed, left out", Count: t.Outside},
		stream.Note{What: "phases booked under \"(other)\" because there are too many paths", Count: other},
		stream.Note{What: "phases whose durations are in the totals and not in p50 and p99, for want of room", Count: unbucketed},
		stream.Note{What: "violations that are counted and not listed, for want of room", Count: t.Unlisted},
	)
	out = append(out, stream.Note{What: "phases were counted in the kernel: no attributes, thread counters or resident memory"})
	if gpu {
		out = append(out, stream.Note{What: "GPU memory was sampled at intervals, not at phase boundaries"})
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
		s := c.sites[d.Site]
		ref := func(node uint32) recorder.ScopeRef {
			if node == 0 {
				return recorder.ScopeRef{}
			}
			return recorder.ScopeRef{
				Open: true, Path: paths[node], SessionID: c.cfg.SessionID,
				ThreadID: th.TID, ThreadName: th.Name, Lane: s.pair.LaneName,
			}
		}
		v := stream.Violation{
			Time: d.Time, Unix: c.core.clock.At(d.Time), Thread: th, Marker: &s.Marker,
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
func (c *counting) repaired(k recorder.Kind) stream.Repair {
	switch {
	case k != recorder.NotLIFO:
		return stream.RepairNothing
	case c.cfg.Policy == engine.PolicyReject:
		return stream.RepairRefused
	}
	return stream.RepairUnwound
}

// pairName is the literal name of a pair.
func (c *counting) pairName(n uint8) string {
	if int(n) < len(c.pairs) {
		return string(c.pairs[n].Name)
	}
	return ""
}
