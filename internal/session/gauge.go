// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/budget"
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/hitcost"
)

// gauge remembers what there was at the last look, to tell what has come since.
type gauge struct {
	at        time.Time
	processes map[int]reading // by PID
	loads     []engine.Load
}

// reading is what was known of a process.
type reading struct {
	hits map[*engine.Pair]uint64
	lost uint64
	cpu  time.Duration
}

// measure returns what has happened since the last look. ok is false when there is
// nothing to compare with, or a hit's cost is not known.
func (th *throttle) measure() (in budget.Interval, ok bool) {
	now := time.Now()
	th.core.mu.Lock()
	defer th.core.mu.Unlock()
	price := th.costs.hit()
	current := th.costs.current()
	before, payers := th.gauge, th.payers()
	th.gauge = gauge{at: now, processes: make(map[int]reading), loads: make([]engine.Load, len(th.pairs))}
	in.Took = now.Sub(before.at)
	in.Pairs = make([]budget.Pair, len(th.pairs))
	for i := range current {
		h := &current[i]
		if h.Process == nil || !h.known {
			continue
		}
		r := readingOf(h)
		old, known := before.processes[h.Process.PID]
		if known && r.follows(&old) {
			in.Processes = append(in.Processes, th.process(&r, &old, price, in.Pairs, payers))
		} else if h.fresh {
			in.Processes = append(in.Processes, th.process(&r, &reading{}, price, in.Pairs, payers))
		}
		if !h.over {
			th.gauge.processes[h.Process.PID] = r
		}
	}
	for n, p := range th.pairs {
		l := th.core.engine.Load(p.Pair)
		th.gauge.loads[n] = l
		var was engine.Load
		if n < len(before.loads) {
			was = before.loads[n]
		}
		out := &in.Pairs[n]
		out.Inside, out.Entered, out.Outermost = time.Duration(l.Inside-was.Inside), l.Entered-was.Entered, l.Outermost-was.Outermost
		out.Attached = p.take(now)
	}
	return in, len(price) > 0 && !before.at.IsZero()
}

// take returns how long the probes of a pair were there since the last call.
func (p *throttled) take(now time.Time) time.Duration {
	d := p.onTime
	if p.onTime = 0; p.on {
		d, p.since = d+now.Sub(p.since), now
	}
	return d
}

func readingOf(h *processHits) reading {
	r := reading{hits: make(map[*engine.Pair]uint64), lost: h.Lost, cpu: h.cpu}
	for _, p := range h.Pairs {
		r.hits[p.Pair] += p.Hits
	}
	return r
}

// follows reports whether r can be a later reading of the same process.
func (r *reading) follows(old *reading) bool {
	for p, n := range old.hits {
		if r.hits[p] < n {
			return false
		}
	}
	return r.cpu >= old.cpu && r.lost >= old.lost
}

// process says what a process used between two readings. Lost hits are shared out: they
// are of the pairs that were hit most.
func (th *throttle) process(r, old *reading, price hitcost.Cost, pairs []budget.Pair, payers []int) budget.Process {
	out := budget.Process{CPU: r.cpu - old.cpu, Cost: make([]time.Duration, len(th.pairs))}
	hits := make([]uint64, len(th.pairs))
	var all uint64
	for n, p := range th.pairs {
		hits[n] = r.hits[p.Pair] - old.hits[p.Pair]
		all += hits[n]
	}
	if all == 0 {
		return out
	}
	scale := 1 + float64(r.lost-old.lost)/float64(all)
	each := float64(price.At(uint64(float64(all)*scale), out.CPU))
	for n := range hits {
		pairs[payers[n]].Hits += hits[n]
		out.Cost[payers[n]] += time.Duration(each * scale * float64(hits[n]))
	}
	return out
}
