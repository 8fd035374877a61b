// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Octaves and Buckets are the layout of Counted.Octaves.
const (
	Octaves = octaves
	Buckets = subBuckets
)

// Counted are the figures of one path, counted elsewhere: in the kernel.
type Counted struct {
	Entered  uint64 // scopes begun, ended or not
	Ended    uint64 // by the program itself; the rest is of these
	Total    uint64 // ns
	Inner    uint64 // ns of Total spent in scopes directly inside
	Min, Max uint64 // ns; without meaning while Ended is 0
	// Octaves count durations: octave 0 those below Buckets ns, each by itself;
	// octave o those from Buckets<<(o-1) on, in Buckets equal steps. nil: none.
	// The counts are copied.
	Octaves [Octaves]*[Buckets]uint64
}

// AddCounted adds counted figures to a path, of a process whose rank is known.
// Scopes that were begun and not ended count as closed by phasetrace. The Grouping,
// if there is one, must be OfProcess.
func (f *Figures) AddCounted(of *recorder.Path, c *Counted, by *stream.Process) {
	f.boundaries += 2 * c.Entered
	f.synthetic += c.Entered - c.Ended
	other := path{
		path: of, count: c.Entered, synthetic: c.Entered - c.Ended,
		total: int64(c.Total), self: int64(c.Total - c.Inner), min: int64(c.Min), max: int64(c.Max),
	}
	for o, counts := range c.Octaves {
		if counts != nil {
			other.hist.take(o, (*block)(counts))
		}
	}
	p := f.path(of)
	f.unsorted += p.merge(&other, &f.blocks)
	if by == nil {
		by = new(stream.Process)
	}
	other.ranks = []rankTimes{{rank: by.Rank, timed: c.Ended, total: other.total, max: other.max}}
	f.mergeRanks(p, &other)
	if g := f.groups; g != nil {
		b := stream.Boundary{Thread: &stream.Thread{Process: by}}
		b.Rank = by.Rank
		g.unsorted += g.cell(p, g.group(&b), c.Entered).merge(&other, &g.blocks)
	}
}

// Merge adds the figures of another session or process. Paths must be of the
// same recorder.Paths, and groups by the same Grouping. Other is left as it is.
func (f *Figures) Merge(other *Figures) {
	f.boundaries += other.boundaries
	f.synthetic += other.synthetic
	for _, o := range other.orphans {
		f.orphan(o.Reason, o.Count)
	}
	f.lost += other.lost
	f.unsorted += other.unsorted
	f.rankless += other.rankless
	f.early = max(f.early, other.early)
	f.add(other, func(p *recorder.Path) (*recorder.Path, bool) { return p, false })
	f.memory.merge(&other.memory)
}

// add adds the figures of paths, each to that which to returns for it, with
// whether it counts as joined.
func (f *Figures) add(other *Figures, to func(*recorder.Path) (path *recorder.Path, moved bool)) {
	for _, p := range other.paths {
		if p == nil {
			continue
		}
		path, moved := to(p.path)
		mine := f.path(path)
		f.unsorted += mine.merge(p, &f.blocks)
		if f.mergeRanks(mine, p); moved {
			mine.joined += p.count
		}
	}
	if f.groups != nil && other.groups != nil {
		f.groups.merge(other.groups, func(c *path) *path {
			path, _ := to(c.path)
			return f.path(path)
		})
	}
}

// merge adds the figures of another path, and returns how many durations no
// histogram had room for.
func (p *path) merge(other *path, blocks *int) (unsorted uint64) {
	if other.timed() > 0 {
		if p.timed() == 0 || other.min < p.min {
			p.min = other.min
		}
		p.max = max(p.max, other.max)
	}
	p.count += other.count
	p.synthetic += other.synthetic
	p.unknown += other.unknown
	p.open += other.open
	p.joined += other.joined
	p.entered = max(p.entered, other.entered)
	p.total += other.total
	p.self += other.self
	for _, o := range other.outcomes {
		p.outcome(o.Outcome, o.Count)
	}
	p.residentChange += other.residentChange
	p.residentPeak = max(p.residentPeak, other.residentPeak)
	for i := range other.gpu {
		p.device(other.gpu[i].Device).merge(&other.gpu[i])
	}
	return p.hist.merge(&other.hist, blocks)
}
