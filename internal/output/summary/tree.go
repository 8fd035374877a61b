// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"cmp"
	"slices"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// node is a phase in the table. stats is nil for a phase that is there only
// because of those inside it.
type node struct {
	path  *recorder.Path
	stats *stream.PathStats
	inner []*node
	order int
}

func (n *node) total() int64 {
	if n.stats == nil {
		return 0
	}
	return int64(n.stats.Total)
}

// tree arranges the phases with the largest totals, most of them, under their
// parents, siblings by total, and returns how many are left out. Enclosing phases
// are added beyond most.
func tree(paths []stream.PathStats, most int) (roots []*node, left int) {
	chosen := make([]*stream.PathStats, len(paths))
	for i := range paths {
		chosen[i] = &paths[i]
	}
	if len(chosen) > most {
		slices.SortStableFunc(chosen, func(a, b *stream.PathStats) int { return cmp.Compare(b.Total, a.Total) })
		left = len(chosen) - most
		chosen = chosen[:most]
	}
	nodes := make(map[*recorder.Path]*node, len(chosen))
	var place func(p *recorder.Path) *node
	place = func(p *recorder.Path) *node {
		if n := nodes[p]; n != nil {
			return n
		}
		n := &node{path: p, order: p.ID()}
		nodes[p] = n
		if parent := p.Parent(); parent != nil {
			outer := place(parent)
			outer.inner = append(outer.inner, n)
		} else {
			roots = append(roots, n)
		}
		return n
	}
	for _, st := range chosen {
		place(st.Path).stats = st
	}
	for i := range paths { // enclosing phases that were not chosen themselves
		if n := nodes[paths[i].Path]; n != nil && n.stats == nil {
			n.stats = &paths[i]
			left--
		}
	}
	sortNodes(roots)
	for _, n := range nodes {
		sortNodes(n.inner)
	}
	return roots, left
}

func sortNodes(nodes []*node) {
	slices.SortFunc(nodes, func(a, b *node) int {
		return cmp.Or(cmp.Compare(b.total(), a.total()), cmp.Compare(a.order, b.order))
	})
}
