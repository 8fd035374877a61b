// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// parts are the pairs that were not traced all the time.
type parts struct {
	list []*part
}

// part is one of them. Until its first change it was traced all the time.
type part struct {
	pair    stream.PairPart
	now     float64 // the part of the time that it is traced
	since   int64   // ns CLOCK_MONOTONIC
	missing float64 // ns, up to since
}

// change takes that a pair is traced for another part of the time from now on.
func (p *parts) change(c *stream.PairChange) {
	at := p.of(c.Provider, c.Enter)
	if at == nil {
		at = &part{pair: stream.PairPart{Name: c.Name, Provider: c.Provider, Enter: c.Enter}, now: 1, since: c.Time}
		p.list = append(p.list, at)
	}
	at.missing = at.missingBy(c.Time)
	if c.Part < at.now {
		at.pair.Cuts++
	}
	at.now, at.since = c.Part, c.Time
	at.pair.Part, at.pair.ForGood, at.pair.Budget = c.Part, at.pair.ForGood || c.ForGood, c.Budget
}

// of returns what is known of the pair of an enter probe, nil if it was always traced.
func (p *parts) of(provider, enter string) *part {
	for _, at := range p.list {
		if at.pair.Provider == provider && at.pair.Enter == enter {
			return at
		}
	}
	return nil
}

// missingBy is how long the pair was not traced up to a time, in ns.
func (at *part) missingBy(time int64) float64 {
	return at.missing + (1-at.now)*float64(max(time-at.since, 0))
}

// leftOut is the share of a session in which the pair was not traced.
func (at *part) leftOut(now int64, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return min(at.missingBy(now)/float64(elapsed), 1)
}

// leftOut adds what was left out to a summary that has the paths already.
func (f *Figures) leftOut(sum *stream.Summary) {
	if len(f.parts.list) == 0 {
		return
	}
	sum.Parts = nil
	for _, at := range f.parts.list {
		one := at.pair
		one.LeftOut = at.leftOut(sum.Time, sum.Elapsed)
		sum.Parts = append(sum.Parts, one)
	}
	enters := make(map[string]*part) // by path
	for _, p := range f.paths {
		if p != nil && p.enter != nil {
			enters[p.path.String()] = f.parts.of(p.enter.Provider, p.enter.Probe)
		}
	}
	for i := range sum.Paths {
		if at := enters[sum.Paths[i].Path.String()]; at != nil {
			sum.Paths[i].LeftOut = at.leftOut(sum.Time, sum.Elapsed)
		}
	}
}
