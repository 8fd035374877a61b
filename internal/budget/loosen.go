// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"slices"
	"time"
)

// loosen brings back what there is room for.
func (c *Controller) loosen(in Interval, loads []load, worst float64) []Change {
	if c.now-c.roomy < settle || c.now-c.changed < max(settle, 10*c.latency) {
		return nil
	}
	if n := slices.IndexFunc(c.pairs, func(p *pair) bool { return p.state == Partly }); n >= 0 {
		return c.more(loads, n, worst)
	}
	idle := c.idle(in)
	var out []Change
	for i := len(c.removed) - 1; i >= 0; i-- { // what went last comes first
		n := c.removed[i]
		p := c.pairs[n]
		if p.gone >= strikes {
			continue
		}
		if c.now-p.since < c.away(p, backOff) {
			break
		}
		cost, known := c.estimate(p, idle)
		switch {
		case known && worst+cost <= c.budget*room:
			worst += cost
		case !known && c.now-p.since >= c.away(p, trial) && len(out) == 0:
			worst = c.budget // alone
		default:
			return out
		}
		c.removed = slices.Delete(c.removed, i, i+1)
		c.set(n, Traced, 1)
		out = append(out, Change{Pair: n, State: Traced, Part: 1, Share: c.worst(loads), Trial: !known})
	}
	return out
}

// away is how long a pair stays away: longer each time.
func (c *Controller) away(p *pair, first time.Duration) time.Duration {
	return max(first, 20*c.latency) << (p.gone - 1)
}

// more traces a pair for more of the time, or for all of it.
func (c *Controller) more(loads []load, n int, worst float64) []Change {
	p := c.pairs[n]
	if c.now-p.since < backOff {
		return nil
	}
	part := c.fits(loads, n)
	whole := 0.0
	for _, l := range loads {
		whole = max(whole, c.cost(l)+l[n]*(1-p.part))
	}
	switch {
	case whole <= c.budget*room:
		c.set(n, Traced, 1)
		return []Change{{Pair: n, State: Traced, Part: 1, Share: worst}}
	case part >= p.part*raise:
		c.set(n, Partly, min(part, 1))
		return []Change{{Pair: n, State: Partly, Part: min(part, 1), Share: worst}}
	}
	return nil
}

// idle reports whether the programs do next to nothing.
func (c *Controller) idle(in Interval) bool {
	var cpu time.Duration
	for i := range in.Processes {
		cpu += in.Processes[i].CPU
	}
	return cpu < time.Duration(least*float64(in.Took))
}

// estimate returns what a pair that is left out would cost now. What is still traced
// tells whether the programs do the same as when it was left out, or less of it.
func (c *Controller) estimate(p *pair, idle bool) (share float64, known bool) {
	if idle {
		return 0, true
	}
	if p.anchor <= 0 {
		return 0, false
	}
	now := 0.0
	for _, m := range p.anchors {
		if c.pairs[m].state == LeftOut {
			return 0, false
		}
		now += c.pairs[m].rate
	}
	return p.share * now / p.anchor, true
}
