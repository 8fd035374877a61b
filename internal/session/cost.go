// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/hitcost"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	// costInterval is how often CPU times are read.
	costInterval = time.Second
	// meterTime is how long the session waits for the measurement, which takes some 80 ms
	// beside the attaching.
	meterTime = 2 * time.Second
)

// costs knows what tracing costs the traced processes. Reader and watcher call it.
type costs struct {
	core    *core
	counted *counting // nil: hits are recorded

	measured chan struct{} // closed when price or unknown is set and no probe is left; nil: nobody has asked

	mu      sync.Mutex   // may be taken with the core locked, and not the other way round
	price   hitcost.Cost // nil: unknown says why
	unknown string
	cpu     *cpuTimes
	over    bool // detaching: nothing changes any more
	looked  int64
	past    []processHits // of processes that have ended
	rest    processHits   // of those for which there was no room
	// With a budget: of those that have ended since somebody asked.
	throttled bool
	recent    []processHits
}

// processHits are the hits of one process and its CPU time.
type processHits struct {
	engine.Tally
	fresh     bool // it is younger than the session
	over      bool // it has ended
	processes int
	cpu       time.Duration
	known     bool
}

// maxPastCosts bounds the ended processes whose costs are kept apart.
const maxPastCosts = 1 << 12

func newCosts(c *core, m mode) *costs {
	counted, _ := m.(*counting)
	return &costs{core: c, counted: counted, cpu: newCPUTimes(), unknown: "nothing was attached", rest: processHits{known: true}}
}

// open measures what a hit costs, in the background, with the programs that a session
// with these options runs. Nothing stays attached to this process: one that ends while it
// has probes in itself makes Linux complain.
func (c *costs) open(o loader.Options) {
	c.measured = make(chan struct{})
	go func() {
		defer close(c.measured)
		m, err := hitcost.Open(o)
		if err == nil {
			err = m.Measure(hitcost.Batches)
		}
		c.mu.Lock()
		if c.unknown = ""; err != nil {
			c.unknown = err.Error()
		} else {
			c.price = m.Cost()
		}
		c.mu.Unlock()
		if m != nil {
			_ = m.Close() // nobody is there to be told
		}
	}()
}

// ready waits until what a hit costs is known and this process has no probes any more,
// for a bounded time: from now on somebody may kill it.
func (c *costs) ready() {
	if c.measured == nil {
		return
	}
	select {
	case <-c.measured:
	case <-time.After(meterTime):
	}
}

// settle waits until the markers of this process have no probes any more, however long
// that takes.
func (c *costs) settle() {
	if c.measured != nil {
		<-c.measured
	}
}

// begun notes a process before anything is attached for it.
func (c *costs) begun(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cpu.begin(pid)
}

// run notes that the session begins: who starts from now on is traced all its life.
func (c *costs) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cpu.since = ticksAt(uint64(clock.Boot())) + 1
}

// ticksAt is a time since boot, in ns, as stream.Process.StartTime counts.
func ticksAt(boot uint64) uint64 {
	const tick = 10_000_000 // USER_HZ is 100 on every architecture here
	return uint64(int64(boot)+clock.Shift().Boot) / tick
}

// note takes an event. The core is locked.
func (c *costs) note(ev event.Event) {
	e, ok := ev.(*event.ProcessExit)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.cpu.exited(e, ticksAt(e.Who.StartTime))
	}
}

// poll reads the CPU times once in a while.
func (c *costs) poll(now int64) {
	if elapsed(c.looked, now) < costInterval {
		return
	}
	c.looked = now
	c.core.mu.Lock()
	defer c.core.mu.Unlock()
	c.look()
}

// look reads the CPU times, and takes the hits of who has ended. The core is locked.
func (c *costs) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := c.core.engine.TakeTallies()
	if !c.over {
		c.cpu.look(c.core.engine.Processes())
	}
	if c.counted != nil {
		return // its processes stay
	}
	for i := range ended {
		h := processHits{Tally: ended[i], processes: 1}
		if h.Process != nil {
			h.cpu, h.known = c.cpu.take(h.Process.PID, c.over)
		}
		if c.keep(h); c.throttled && len(c.recent) < maxPastCosts {
			h.fresh, h.over = h.Process != nil && h.Process.StartTime >= c.cpu.since, true
			c.recent = append(c.recent, h)
		}
	}
}

// hit is what a hit costs, as far as that is known.
func (c *costs) hit() hitcost.Cost {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.price
}

// current returns the hits of every process that has not ended, and of those that have
// since the last call. The core is locked.
func (c *costs) current() []processHits {
	c.look()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.recent
	c.recent = nil
	for _, t := range c.core.engine.Tallies() {
		h := processHits{Tally: t, processes: 1, fresh: c.cpu.since > 0 && t.Process.StartTime >= c.cpu.since}
		h.cpu, h.known = c.cpu.of(t.Process.PID)
		all = append(all, h)
	}
	return all
}

// keep keeps the hits of a process that has ended, if there are any.
func (c *costs) keep(h processHits) {
	switch {
	case h.hits() == 0:
	case h.Process != nil && len(c.past) < maxPastCosts:
		c.past = append(c.past, h)
	default:
		c.rest.add(&h)
	}
}

// detaching reads the CPU times for the last time: probes are about to be removed.
func (c *costs) detaching() {
	c.core.mu.Lock()
	defer c.core.mu.Unlock()
	c.look()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

// summarise adds what is known to a summary. The core is locked.
func (c *costs) summarise(sum *stream.Summary) {
	c.look()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &stream.TracingCost{Unknown: c.unknown}
	for _, p := range c.price {
		out.Hit = append(out.Hit, stream.HitCost(p))
	}
	if len(c.price) == 0 && out.Unknown == "" {
		out.Unknown = "other work on the machine kept it from being measured"
	}
	addUp(out, c.each(), c.price)
	sum.Cost = out
}

// addUp adds what hits have cost to a summary, of each process and in all.
func addUp(out *stream.TracingCost, each []processHits, price hitcost.Cost) {
	all := processHits{known: true}
	for i := range each {
		if each[i].hits() == 0 {
			continue
		}
		one := each[i].cost(price)
		out.All.Cost += one.Cost
		all.add(&each[i])
		if each[i].Process != nil {
			out.Processes = append(out.Processes, one)
		}
	}
	cost := out.All.Cost
	out.Total = all.processes
	out.All = all.cost(price)
	scale(&out.All, cost)
	slices.SortStableFunc(out.Processes, func(a, b stream.ProcessCost) int {
		return cmp.Or(cmp.Compare(b.Cost, a.Cost), cmp.Compare(b.Hits, a.Hits))
	})
	out.Processes = out.Processes[:min(len(out.Processes), stream.MaxCosts)]
}

// each returns the hits of every process.
func (c *costs) each() []processHits {
	all := append(slices.Clone(c.past), c.rest)
	alive := c.core.engine.Tallies
	if c.counted != nil {
		alive = c.counted.tallies
	}
	for _, t := range alive() {
		h := processHits{Tally: t, processes: 1}
		h.cpu, h.known = c.cpu.of(t.Process.PID)
		all = append(all, h)
	}
	return all
}

// hits is how many hits there were.
func (h *processHits) hits() uint64 {
	n := h.Lost
	for _, p := range h.Pairs {
		n += p.Hits
	}
	return n
}

// add adds the hits of another process.
func (h *processHits) add(o *processHits) {
	h.processes += o.processes
	h.cpu, h.known, h.Lost = h.cpu+o.cpu, h.known && o.known, h.Lost+o.Lost
	for _, p := range o.Pairs {
		if i := slices.IndexFunc(h.Pairs, func(q engine.PairHits) bool { return q.Pair.ID == p.Pair.ID }); i >= 0 {
			h.Pairs[i].Hits += p.Hits
		} else {
			h.Pairs = append(h.Pairs, p)
		}
	}
}

// cost says what the hits have cost.
func (h *processHits) cost(price hitcost.Cost) stream.ProcessCost {
	hits := h.hits()
	out := stream.ProcessCost{Process: h.Process, Hits: hits, CPU: h.cpu, CPUKnown: h.known}
	cpu := h.cpu
	if !h.known {
		cpu = 0
	}
	each := price.At(hits, cpu)
	out.Cost = times(each, hits)
	for _, p := range h.Pairs {
		if p.Hits > 0 {
			out.Pairs = append(out.Pairs, stream.PairCost{Name: costName(p.Pair), Hits: p.Hits, Cost: times(each, p.Hits)})
		}
	}
	slices.SortStableFunc(out.Pairs, func(a, b stream.PairCost) int { return cmp.Compare(b.Hits, a.Hits) })
	return out
}

// scale makes a cost the sum of those of the processes, which differ in what a hit
// costs.
func scale(c *stream.ProcessCost, sum time.Duration) {
	for i := range c.Pairs {
		if c.Cost > 0 {
			c.Pairs[i].Cost = time.Duration(float64(c.Pairs[i].Cost) * float64(sum) / float64(c.Cost))
		}
	}
	c.Cost = sum
}

// times is a duration so many times over, as far as there are such.
func times(d time.Duration, n uint64) time.Duration {
	return time.Duration(min(float64(d)*float64(n), math.MaxInt64/2))
}

// costName is what a pair is called.
func costName(p *engine.Pair) string {
	if p.Name == nil {
		return p.ID
	}
	return string(p.Name)
}
