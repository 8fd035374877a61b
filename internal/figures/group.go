// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"cmp"
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// Grouping says by what figures are added up, besides by path.
type Grouping struct {
	// Word is what users call it, such as "rank" or "attr.db".
	Word string
	// Key appends the key of the group that a scope belongs to, or returns false if
	// it belongs to none. It is called for every exit: in steady state it must not
	// allocate. What is cut off at MaxGroupKey bytes makes no difference.
	Key func(dst []byte, exit *stream.Boundary) (key []byte, ok bool)
	// Label is what a group is called, if not by its key. It is called when the
	// first scope of the group ends, and may allocate. It may be nil.
	Label func(exit *stream.Boundary) string
	// Inherited says that what has no key of its own belongs to the group of the
	// phase around it. Key is then called for enters too.
	Inherited bool
	// OfProcess says that a boundary's rank and process are all that Key and Label
	// look at. Only then can what was counted in the kernel be grouped.
	OfProcess bool
}

// Bounds of groups. What exceeds them is added to the group for others, and
// counted.
const (
	MaxGroups   = 4096    // of a session
	MaxGroupKey = 1024    // bytes
	maxCells    = 1 << 15 // groups of all paths together
	// maxGroupBlocks bounds the histogram blocks of all groups: 16 MiB.
	maxGroupBlocks = 1 << 16
	maxInherited   = 1 << 16 // open scopes whose group others may inherit
)

// Numbers of the groups without a key.
const (
	groupNone = iota
	groupOther
	groupsNamed // the first with one
)

// groups adds up the figures of each path by group.
type groups struct {
	by     *Grouping
	ids    map[string]int // by key, from groupsNamed on
	keys   []string       // by number less groupsNamed
	labels []string       // the same
	cells  map[cellID]*path
	named  int // cells of groups with a key
	blocks int // histogram blocks that may still be made

	open     map[uint64]int // group by scope that is open, where groups are inherited
	key      []byte         // scratch
	last     int            // group of the last exit
	other    uint64         // scopes in the group for others
	cut      uint64         // scopes whose key was cut
	unsorted uint64         // durations that no histogram had room for
}

// cellID is a group of a path.
type cellID struct{ path, group int }

func newGroups(by *Grouping) *groups {
	return &groups{by: by, ids: make(map[string]int), cells: make(map[cellID]*path),
		open: make(map[uint64]int), blocks: maxGroupBlocks}
}

// exit adds the end of a scope of a path to its group.
func (g *groups) exit(p *path, b *stream.Boundary) {
	c := g.cell(p, g.of(b), 1)
	if !c.exit(b, &g.blocks) {
		g.unsorted++
	}
	c.memory(b)
}

// enter notes the group of a scope for those that will be inside it.
func (g *groups) enter(b *stream.Boundary) {
	if !g.by.Inherited {
		return
	}
	if len(g.open) >= maxInherited {
		clear(g.open) // their exits were never seen
	}
	g.open[b.Scope] = g.orAround(g.group(b), b)
}

// of returns the group of an exit.
func (g *groups) of(b *stream.Boundary) int {
	if !g.by.Inherited {
		return g.group(b)
	}
	if id, ok := g.open[b.Scope]; ok {
		delete(g.open, b.Scope)
		return id
	}
	return g.orAround(g.group(b), b)
}

// orAround returns a scope's own group, or that of the phase around it.
func (g *groups) orAround(own int, b *stream.Boundary) int {
	if own != groupNone {
		return own
	}
	return g.open[b.Parent]
}

// group returns the number of the group of a boundary by its own key.
func (g *groups) group(b *stream.Boundary) int {
	key, ok := g.by.Key(g.key[:0], b)
	g.key = key
	if !ok {
		return groupNone
	}
	if len(key) > MaxGroupKey {
		key = key[:MaxGroupKey]
		g.cut++
	}
	if g.last >= groupsNamed && g.keys[g.last-groupsNamed] == string(key) {
		return g.last
	}
	id, ok := g.ids[string(key)]
	switch {
	case ok:
	case len(g.keys) == MaxGroups:
		return groupOther
	case g.by.Label != nil:
		id = g.add(string(key), g.by.Label(b))
	default:
		id = g.add(string(key), string(key))
	}
	g.last = id
	return id
}

// add makes a group, for which there must be room, and returns its number.
func (g *groups) add(key, label string) int {
	label = string([]rune(label)) // what is not UTF-8 is shown as U+FFFD
	id := groupsNamed + len(g.keys)
	g.ids[key] = id
	g.keys, g.labels = append(g.keys, key), append(g.labels, label)
	return id
}

// cell returns the figures of a group of a path, for n scopes that are about to be
// added.
func (g *groups) cell(p *path, group int, n uint64) *path {
	id := cellID{p.path.ID(), group}
	c := g.cells[id]
	if c == nil && group >= groupsNamed {
		if g.named == maxCells {
			return g.cell(p, groupOther, n)
		}
		g.named++
	}
	if c == nil {
		c = &path{path: p.path}
		g.cells[id] = c
	}
	if group == groupOther {
		g.other += n
	}
	return c
}

// merge adds the groups of other figures by the same Grouping.
func (g *groups) merge(other *groups, into func(*path) *path) {
	for id, c := range other.cells {
		group := id.group
		if group >= groupsNamed {
			group = g.same(other, group)
		}
		g.unsorted += g.cell(into(c), group, c.count).merge(c, &g.blocks)
	}
	g.cut += other.cut
	g.unsorted += other.unsorted
}

// same returns the number of a group that has another in other groups.
func (g *groups) same(other *groups, group int) int {
	key := other.keys[group-groupsNamed]
	if mine, ok := g.ids[key]; ok {
		return mine
	}
	if len(g.keys) == MaxGroups {
		return groupOther
	}
	return g.add(key, other.labels[group-groupsNamed])
}

// export returns the groups of paths, by the path's id: those with the largest
// totals first, those without a key and the rest last.
func (g *groups) export() map[int][]stream.GroupStats {
	out := make(map[int][]stream.GroupStats)
	for id, c := range g.cells {
		s := stream.GroupStats{Kind: stream.GroupNamed, Figures: c.export()}
		s.Figures.Path, s.Figures.Open = nil, 0
		switch id.group {
		case groupNone:
			s.Kind = stream.GroupNone
		case groupOther:
			s.Kind = stream.GroupOther
		default:
			s.Name = g.labels[id.group-groupsNamed]
		}
		out[id.path] = append(out[id.path], s)
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b stream.GroupStats) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(b.Figures.Total, a.Figures.Total),
				cmp.Compare(b.Figures.Count, a.Figures.Count), cmp.Compare(a.Name, b.Name))
		})
	}
	return out
}

// summary is what there is to say about the groups as a whole.
func (g *groups) summary() stream.Grouped {
	return stream.Grouped{By: g.by.Word, Groups: len(g.keys), Other: g.other, Cut: g.cut}
}
