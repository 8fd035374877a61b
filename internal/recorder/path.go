// SPDX-License-Identifier: Apache-2.0

package recorder

import "strings"

// Separator stands between the names of a path in text.
const Separator = " / "

// OtherName is the name of overflow nodes.
const OtherName = "(other)"

// mapFrom is the number of children from which a map is faster than a scan.
const mapFrom = 8

// Path is a phase: the names from the outermost scope to this one, interned, so
// that equal paths of one Paths are the same pointer. It lives as long as its
// Paths, or the Recorder that owns them; Reset keeps it. Its exported methods may
// be called at any time from any goroutine.
type Path struct {
	name     string
	parent   *Path // the root for outermost phases
	id       int
	depth    int
	overflow bool

	// What follows changes: only the holder of the Paths may use it.
	last     *Path // the child asked for last
	other    *Path // this node's overflow node
	children []*Path
	byName   map[string]*Path // all children, from mapFrom on
}

// ID is dense from 0 in order of first appearance, overflow nodes included.
// Callers can keep their data on paths in slices indexed by it.
func (p *Path) ID() int { return p.id }

// Name is the last name of the path.
func (p *Path) Name() string { return p.name }

// Depth is the number of names, 1 for an outermost phase.
func (p *Path) Depth() int { return p.depth }

// Parent is the enclosing phase, nil for an outermost one.
func (p *Path) Parent() *Path {
	if p.parent == nil || p.parent.depth == 0 {
		return nil
	}
	return p.parent
}

// Overflow reports whether this node, called OtherName, stands for all the phases
// below its parent that came after a limit was reached. Whatever is entered
// inside such a phase counts under the same node, so its depth can be less than
// the stack's.
func (p *Path) Overflow() bool { return p.overflow }

// Parts returns the names from the outermost on, in a new slice.
func (p *Path) Parts() []string {
	parts := make([]string, p.depth)
	for i, q := p.depth-1, p; i >= 0; i, q = i-1, q.parent {
		parts[i] = q.name
	}
	return parts
}

// String joins the names by Separator.
func (p *Path) String() string {
	if p.depth == 1 {
		return p.name
	}
	return strings.Join(p.Parts(), Separator)
}

// Equal compares by names, so that paths of two Paths can be compared.
func (p *Path) Equal(q *Path) bool {
	for p != q {
		if p == nil || q == nil || p.depth != q.depth || p.name != q.name || p.overflow != q.overflow {
			return false
		}
		p, q = p.parent, q.parent
	}
	return true
}

// find returns the child of that name or nil.
func (p *Path) find(name []byte) *Path {
	if p.byName != nil {
		return p.byName[string(name)]
	}
	for _, c := range p.children {
		if c.name == string(name) {
			return c
		}
	}
	return nil
}

// add appends a child that find does not know.
func (p *Path) add(c *Path) {
	p.children = append(p.children, c)
	switch {
	case p.byName != nil:
		p.byName[c.name] = c
	case len(p.children) >= mapFrom:
		p.byName = make(map[string]*Path, 2*mapFrom)
		for _, c := range p.children {
			p.byName[c.name] = c
		}
	}
}
