// SPDX-License-Identifier: Apache-2.0

package session

import (
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// pathTree gives what the kernel counted the paths that recorded phases have.
type pathTree struct {
	paths *recorder.Paths
	known map[uint32]*recorder.Path // by AggregatePath.ID
}

func newPathTree() *pathTree {
	return &pathTree{paths: recorder.NewPaths(recorder.Limits{}), known: make(map[uint32]*recorder.Path)}
}

// of returns the paths of the nodes that have one, by number.
func (t *pathTree) of(a *loader.Aggregate, pairName func(uint8) string) map[uint32]*recorder.Path {
	for i := range a.Paths {
		p := &a.Paths[i]
		switch parent := t.known[p.Parent]; {
		case p.Process != nil || t.known[p.ID] != nil:
		case p.Overflow:
			t.known[p.ID] = t.paths.Other(parent)
		default:
			t.known[p.ID] = t.child(parent, nodeName(p, pairName))
		}
	}
	return t.known
}

// child returns the path of a name, which is never blank.
func (t *pathTree) child(parent *recorder.Path, name string) *recorder.Path {
	path, _, err := t.paths.Child(parent, name)
	if err != nil {
		return t.paths.Other(parent)
	}
	return path
}

// nodeName is a path's last name as it is shown.
func nodeName(p *loader.AggregatePath, pairName func(uint8) string) string {
	switch p.Literal {
	case loader.LiteralNull:
		return engine.NameNull
	case loader.LiteralUnreadable:
		return engine.NameUnreadable
	case loader.LiteralEmpty:
		return engine.NameEmpty
	}
	name := p.Name
	if pair, ok := p.Literal.Pair(); ok {
		name = pairName(pair)
	}
	if recorder.BlankName([]byte(name)) {
		return engine.NameEmpty
	}
	return name
}

// merge makes figures of what was counted: of all processes together, and of
// each.
func (c *counting) merge(a *loader.Aggregate) (all *figures.Figures, processes []stream.ProcessStats) {
	paths := c.tree.of(a, c.pairName)
	root := make(map[uint32]uint32) // the process of a path
	all = figures.NewBy(c.cfg.By)
	var each []*figures.Figures
	index := make(map[uint32]int)
	for i := range a.Paths {
		p := &a.Paths[i]
		if p.Process != nil {
			root[p.ID], index[p.ID] = p.ID, len(each)
			each = append(each, figures.New())
			processes = append(processes, stream.ProcessStats{Process: c.processes[p.ID]})
			continue
		}
		if p.Entered > 0 {
			all.AddCounted(paths[p.ID], countedFigures(&p.AggregateFigures), c.processes[root[p.Parent]])
		}
		if of, ok := root[p.Parent]; ok {
			root[p.ID] = of
			if p.Entered > 0 {
				each[index[of]].AddCounted(paths[p.ID], countedFigures(&p.AggregateFigures), c.processes[of])
			}
		}
	}
	for path, at := range c.grown {
		all.Seen(path, at, c.early)
	}
	for i := range processes {
		processes[i].Paths = each[i].Paths()
	}
	return all, processes
}

// countedFigures are the kernel's figures of a path.
func countedFigures(f *loader.AggregateFigures) *figures.Counted {
	c := &figures.Counted{Entered: f.Entered, Ended: f.Ended, Total: f.Total, Inner: f.Inner, Min: f.Min, Max: f.Max}
	copy(c.Octaves[:], f.Octaves[:figures.Octaves])
	return c
}

// watch notes at which reading outermost phases were last entered, and at which
// phases last ended that nobody has seen the enters of. Within a reading, the enters
// count as the earlier ones.
func (c *counting) watch(a *loader.Aggregate) {
	c.readings++
	if a.Totals.Orphans > c.orphans {
		c.orphans, c.early = a.Totals.Orphans, 2*c.readings+1
	}
	paths := c.tree.of(a, c.pairName)
	entered := make(map[*recorder.Path]uint64)
	for i := range a.Paths {
		if p := paths[a.Paths[i].ID]; p != nil && a.Paths[i].Process == nil && p.Parent() == nil {
			entered[p] += a.Paths[i].Entered
		}
	}
	for p, n := range entered {
		if n > c.entered[p] {
			c.grown[p] = 2 * c.readings
		}
	}
	c.entered = entered
}
