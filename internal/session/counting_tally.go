// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// namedByMarker stands for the pairs whose markers name the phases: the kernel does not keep
// apart which of them a name came from.
var namedByMarker = &engine.Pair{ID: "named by the marker"}

// tallies returns the hits of every process that has been counted so far, as of the
// last reading. Hits that are of no path, such as those of exits nobody saw the enters
// of, are missing.
func (c *counting) tallies() []engine.Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return nil
	}
	root := make(map[uint32]uint32) // the process of a path
	hits := make(map[uint32]map[*engine.Pair]uint64)
	var order []uint32
	for i := range c.last.Paths {
		p := &c.last.Paths[i]
		if p.Process != nil {
			root[p.ID], hits[p.ID] = p.ID, make(map[*engine.Pair]uint64)
			order = append(order, p.ID)
			continue
		}
		of, ok := root[p.Parent]
		if !ok {
			continue
		}
		root[p.ID] = of
		pair := namedByMarker
		if n, ok := p.Literal.Pair(); ok && int(n) < len(c.pairs) {
			pair = c.pairs[n].Pair
		}
		hits[of][pair] += p.Entered + p.Ended
	}
	out := make([]engine.Tally, 0, len(order))
	for _, id := range order {
		out = append(out, tallyOf(c.processes[id], hits[id]))
	}
	return out
}

func tallyOf(p *stream.Process, hits map[*engine.Pair]uint64) engine.Tally {
	t := engine.Tally{Process: p}
	for pair, n := range hits {
		t.Pairs = append(t.Pairs, engine.PairHits{Pair: pair, Hits: n})
	}
	slices.SortFunc(t.Pairs, func(a, b engine.PairHits) int { return strings.Compare(a.Pair.ID, b.Pair.ID) })
	return t
}
