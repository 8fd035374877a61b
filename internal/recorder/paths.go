// SPDX-License-Identifier: Apache-2.0

package recorder

// Paths interns phases: equal names, from the outermost on, give the same *Path.
// It is bounded by MaxPaths, MaxChildren, MaxName and MaxNameBytes of Limits;
// whatever exceeds them counts under overflow nodes; see Path.Overflow.
//
// Like a map it has no lock: it is for one goroutine at a time. The paths it
// returns may be used from any goroutine, even while it makes others. Each
// Recorder has Paths of its own, under its lock.
type Paths struct {
	limits    Limits
	root      *Path
	nodes     int // including overflow nodes
	named     int
	nameBytes int
}

// NewPaths returns empty Paths.
func NewPaths(l Limits) *Paths {
	p := makePaths(l.withDefaults())
	return &p
}

func makePaths(l Limits) Paths { return Paths{limits: l, root: &Path{id: -1}} }

// Len is the number of paths, overflow nodes included; their ids are below it.
func (ps *Paths) Len() int { return ps.nodes }

// Child returns the phase called name inside parent, a path of the same Paths, or
// the outermost phase of that name for nil. The name is trimmed and cut like a
// scope's; Cut says what a limit has changed. The only error is ErrEmptyName, and
// then nothing has changed.
func (ps *Paths) Child(parent *Path, name string) (*Path, Cut, error) {
	clean, cut := cleanName([]byte(name), ps.limits.MaxName)
	if len(clean) == 0 {
		return nil, 0, ErrEmptyName
	}
	p := ps.child(ps.from(parent), clean)
	if p.overflow {
		cut |= CutPath
	}
	return p, cut, nil
}

// Other returns the overflow node of parent, or of the outermost phases for nil:
// for figures that were already counted without names.
func (ps *Paths) Other(parent *Path) *Path { return ps.other(ps.from(parent)) }

func (ps *Paths) from(parent *Path) *Path {
	if parent == nil {
		return ps.root
	}
	return parent
}

// child returns the node for a clean name below p, which may be an overflow
// node. It allocates only for a path never seen before.
func (ps *Paths) child(p *Path, name []byte) *Path {
	if c := p.last; c != nil && c.name == string(name) {
		return c
	}
	if p.overflow {
		return p
	}
	c := p.find(name)
	if c == nil {
		c = ps.create(p, name)
	}
	if !c.overflow {
		p.last = c
	}
	return c
}

func (ps *Paths) create(p *Path, name []byte) *Path {
	l := &ps.limits
	if ps.named >= l.MaxPaths || len(p.children) >= l.MaxChildren || ps.nameBytes+len(name) > l.MaxNameBytes {
		return ps.other(p)
	}
	c := &Path{name: string(name), parent: p, id: ps.nodes, depth: p.depth + 1}
	ps.nodes++
	ps.named++
	ps.nameBytes += len(name)
	p.add(c)
	return c
}

func (ps *Paths) other(p *Path) *Path {
	if p.overflow {
		return p
	}
	if p.other == nil {
		p.other = &Path{name: OtherName, parent: p, id: ps.nodes, depth: p.depth + 1, overflow: true}
		ps.nodes++
	}
	return p.other
}
