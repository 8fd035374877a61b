// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// path holds the figures of one path.
type path struct {
	path      *recorder.Path
	count     uint64 // of exits
	synthetic uint64 // of count; times of these and the next are left out below
	unknown   uint64
	open      int64
	joined    uint64         // of count; see joined
	entered   int64          // when a scope was last entered
	enter     *stream.Marker // of an enter, nil while none is known
	total     int64          // ns
	self      int64
	min, max  int64
	hist      histogram

	gpu            []stream.PathGPU
	residentChange int64
	residentPeak   uint64

	ranks []rankTimes
	at    int // in ranks: that of the last exit

	outcomes []stream.OutcomeCount
}

// exit adds the times of an exit. blocks is what is left of maxBlocks. It returns
// false if the histogram had no room for the duration.
func (p *path) exit(b *stream.Boundary, blocks *int) bool {
	p.count++
	if o := b.Outcome(); o != "" {
		p.outcome(o, 1)
	}
	switch {
	case b.Synthetic != stream.ReasonNone:
		p.synthetic++
		return true
	case b.Doubt != stream.DoubtNone:
		p.unknown++
		return true
	}
	p.total += b.Duration
	p.self += b.Self
	p.max = max(p.max, b.Duration)
	if p.timed() == 1 || b.Duration < p.min {
		p.min = b.Duration
	}
	return p.hist.add(uint64(b.Duration), blocks)
}

// maxOutcomes bounds the outcomes of a path: a pair has 16 exits at most.
const maxOutcomes = 32

// outcome counts scopes that ended in one way.
func (p *path) outcome(word string, n uint64) {
	for i := range p.outcomes {
		if p.outcomes[i].Outcome == word {
			p.outcomes[i].Count += n
			return
		}
	}
	if len(p.outcomes) < maxOutcomes {
		p.outcomes = append(p.outcomes, stream.OutcomeCount{Outcome: word, Count: n})
	}
}

// timed is how many scopes the times are of.
func (p *path) timed() uint64 { return p.count - p.synthetic - p.unknown }

func (p *path) export() stream.PathStats {
	return stream.PathStats{
		Path: p.path, Count: p.count, Synthetic: p.synthetic, Unknown: p.unknown, Open: uint64(max(p.open, 0)), Joined: p.joined,
		Total: time.Duration(p.total), Self: time.Duration(p.self),
		P50: p.clamp(p.hist.quantile(0.5)), P99: p.clamp(p.hist.quantile(0.99)),
		Max: time.Duration(p.max), Min: time.Duration(p.min),
		Outcomes: slices.Clone(p.outcomes), GPU: p.gpu, ResidentChange: p.residentChange, ResidentPeak: p.residentPeak,
	}
}

// clamp keeps a quantile within what was really seen.
func (p *path) clamp(v uint64) time.Duration {
	return time.Duration(min(max(int64(v), p.min), p.max))
}
