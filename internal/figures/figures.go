// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"cmp"
	"slices"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Figures are the figures of a session so far. It is a stream.Sink that writes
// nothing. In steady state no method allocates. For one goroutine.
type Figures struct {
	paths  []*path // by recorder.Path.ID
	blocks int     // histogram blocks that may still be made

	boundaries uint64
	synthetic  uint64
	orphans    []stream.OrphanCount // by reason
	lost       uint64
	unsorted   uint64 // durations that no histogram had room for
	early      int64  // when a phase last ended that was entered before the attach; 0: never
	memory     memory
	parts      parts
	groups     *groups // nil: no grouping
	rankCells  int     // ranks of all paths together
	rankless   uint64  // durations left out of figures by rank
}

var _ stream.Sink = (*Figures)(nil)

// New returns figures of nothing.
func New() *Figures { return &Figures{blocks: maxBlocks} }

// NewBy returns figures of nothing that are added up by group too. A nil Grouping
// is none.
func NewBy(by *Grouping) *Figures {
	f := New()
	if by != nil {
		f.groups = newGroups(by)
	}
	return f
}

// Start has nothing to do.
func (*Figures) Start(*stream.Start) error { return nil }

// Record adds a record. It never fails.
func (f *Figures) Record(r stream.Record) error {
	switch r := r.(type) {
	case *stream.Boundary:
		f.boundary(r)
	case *stream.Orphan:
		f.orphan(r.Reason, 1)
		f.orphanAt(r)
	case *stream.Loss:
		f.lost += r.Count
	case *stream.PairChange:
		f.parts.change(r)
	case *stream.Sample:
		f.memory.sample(r)
	}
	return nil
}

// Flush has nothing to do.
func (*Figures) Flush() error { return nil }

// End has nothing to do: the summary is made of these figures.
func (*Figures) End(*stream.Summary) error { return nil }

func (f *Figures) boundary(b *stream.Boundary) {
	f.boundaries++
	if b.Synthetic != stream.ReasonNone {
		f.synthetic++
	}
	p := f.path(b.Path)
	if b.Action == recorder.Enter {
		p.open++
		if f.groups != nil {
			f.groups.enter(b)
		}
		p.entered = b.Time
		if p.enter == nil {
			p.enter = b.Marker
		}
		return
	}
	p.open--
	if !p.exit(b, &f.blocks) {
		f.unsorted++
	}
	p.memory(b)
	if b.Synthetic == stream.ReasonNone && b.Doubt == stream.DoubtNone {
		f.rank(p, b.Rank).add(b.Duration)
	}
	if f.groups != nil {
		f.groups.exit(p, b)
	}
}

// orphan counts orphan exits of a reason.
func (f *Figures) orphan(why stream.OrphanReason, n uint64) {
	for i := range f.orphans {
		if f.orphans[i].Reason == why {
			f.orphans[i].Count += n
			return
		}
	}
	f.orphans = append(f.orphans, stream.OrphanCount{Reason: why, Count: n})
}

func (f *Figures) path(of *recorder.Path) *path {
	id := of.ID()
	for id >= len(f.paths) {
		f.paths = append(f.paths, nil)
	}
	p := f.paths[id]
	if p == nil {
		p = &path{path: of}
		f.paths[id] = p
	}
	return p
}

// Snapshot puts the figures so far into a summary, whose other fields it leaves
// alone. Sum.Lost is raised to the sum of the losses recorded, if that is more.
func (f *Figures) Snapshot(sum *stream.Summary) {
	sum.Boundaries, sum.Synthetic = f.boundaries, f.synthetic
	sum.Orphans, sum.OrphanReasons = 0, slices.Clone(f.orphans)
	slices.SortStableFunc(sum.OrphanReasons, func(a, b stream.OrphanCount) int { return cmp.Compare(b.Count, a.Count) })
	for _, o := range sum.OrphanReasons {
		sum.Orphans += o.Count
	}
	sum.Lost = max(sum.Lost, f.lost)
	sum.Paths = f.Paths()
	f.leftOut(sum)
	if f.groups != nil {
		sum.Grouped = f.groups.summary()
	}
	sum.GPUSamples, sum.RunPeak = f.memory.samples, f.memory.runPeaks()
}

// Paths returns the figures by path, in the order of their first scope.
func (f *Figures) Paths() []stream.PathStats {
	f = f.joined()
	var out []stream.PathStats
	var grouped map[int][]stream.GroupStats
	if f.groups != nil {
		grouped = f.groups.export()
	}
	for id, p := range f.paths {
		if p != nil {
			s := p.export()
			s.Groups, s.Ranks = grouped[id], p.exportRanks()
			out = append(out, s)
		}
	}
	return out
}

// Unsorted returns how many durations are in totals but not in quantiles,
// because there are too many phases or groups of them.
func (f *Figures) Unsorted() uint64 {
	if f.groups != nil {
		return f.unsorted + f.groups.unsorted
	}
	return f.unsorted
}

// Rankless returns how many durations are in no figure by rank, because there are
// too many ranks and phases.
func (f *Figures) Rankless() uint64 { return f.rankless }
