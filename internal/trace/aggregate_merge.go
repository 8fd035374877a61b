// SPDX-License-Identifier: Apache-2.0

package trace

import (
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

// of returns the path of every node that is one, by its number.
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
		return string(nameNull)
	case loader.LiteralUnreadable:
		return string(nameUnreadable)
	case loader.LiteralEmpty:
		return string(nameEmpty)
	}
	name := p.Name
	if pair, ok := p.Literal.Pair(); ok {
		name = pairName(pair)
	}
	if recorder.BlankName([]byte(name)) {
		return string(nameEmpty)
	}
	return name
}

// figuresByPath adds up figures, and keeps paths in the order of their first.
type figuresByPath struct {
	sums  map[*recorder.Path]*loader.AggregateFigures
	order []*recorder.Path
}

func (f *figuresByPath) add(path *recorder.Path, figures *loader.AggregateFigures) {
	sum := f.sums[path]
	if sum == nil {
		if f.sums == nil {
			f.sums = make(map[*recorder.Path]*loader.AggregateFigures)
		}
		sum = new(loader.AggregateFigures)
		f.sums[path] = sum
		f.order = append(f.order, path)
	}
	sum.Add(figures)
}

func (f *figuresByPath) export() []stream.PathStats {
	var out []stream.PathStats
	for _, path := range f.order {
		if sum := f.sums[path]; sum.Entered > 0 {
			out = append(out, countedStats(path, sum))
		}
	}
	return out
}

// merge makes statistics of what was counted: of all processes together, and of
// each.
func (c *counting) merge(a *loader.Aggregate) ([]stream.PathStats, []stream.ProcessStats) {
	paths := c.tree.of(a, c.pairName)
	root := make(map[uint32]uint32) // the process of a path
	var all figuresByPath
	var each []*figuresByPath
	var processes []stream.ProcessStats
	index := make(map[uint32]int)
	for i := range a.Paths {
		p := &a.Paths[i]
		if p.Process != nil {
			root[p.ID], index[p.ID] = p.ID, len(each)
			each = append(each, new(figuresByPath))
			processes = append(processes, stream.ProcessStats{Process: c.processes[p.ID]})
			continue
		}
		all.add(paths[p.ID], &p.AggregateFigures)
		if of, ok := root[p.Parent]; ok {
			root[p.ID] = of
			each[index[of]].add(paths[p.ID], &p.AggregateFigures)
		}
	}
	for i := range processes {
		processes[i].Paths = each[i].export()
	}
	return all.export(), processes
}

// countedStats makes a path's statistics of its figures.
func countedStats(path *recorder.Path, f *loader.AggregateFigures) stream.PathStats {
	out := pathFigures{
		path: path, count: f.Entered, synthetic: f.Entered - f.Ended,
		total: int64(f.Total), self: int64(f.Total - f.Inner),
	}
	if f.Ended > 0 {
		out.min, out.max = int64(f.Min), int64(f.Max)
	}
	for o, counts := range f.Octaves[:octaves] {
		if counts != nil {
			out.hist.take(o, (*block)(counts))
		}
	}
	return out.export()
}
