// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// contextKey is a value of a probe that phases which are entered later have as an
// attribute. Pairs share it.
type contextKey struct {
	provider, probe string
	arg, lenArg     int
	typ             usdt.ArgType
	words           string
}

// contextSite names a site that tells such a value.
type contextSite struct {
	resetSite
	number int
}

func contextKeyOf(p *pair, a *usdt.AttrSpec) contextKey {
	return contextKey{p.spec.Provider, a.Probe, a.Arg, a.LenArg, a.Type, a.Words}
}

// numberContext numbers the attributes of a pair that other probes tell.
func (c *plan) numberContext(p *pair) {
	p.context = make(map[string]int)
	for i := range p.spec.Attrs {
		a := &p.spec.Attrs[i]
		if a.Probe == "" {
			continue
		}
		key := contextKeyOf(p, a)
		n := slices.Index(c.context, key)
		if n < 0 && len(c.context) == engine.MaxContext {
			c.warnings.add(fmt.Sprintf("pair %s: no %s: more than %d attributes are told by other probes", p.ID, a.Key, engine.MaxContext))
			continue
		}
		if n < 0 {
			n = len(c.context)
			c.context = append(c.context, key)
		}
		p.context[a.Key] = n
	}
}

// addContext adds the sites that tell attributes of a pair, one for all pairs that
// share the value. They also prove pairs to be over, where pairs say so.
func (c *plan) addContext(p *pair, indexes []int, all *allSites) {
	for i := range p.spec.Attrs {
		a := &p.spec.Attrs[i]
		n, ok := p.context[a.Key]
		if a.Probe == "" || !ok {
			continue
		}
		for _, at := range indexes {
			if in := &all.sites[at]; in.Name == a.Probe {
				c.addNote(p, a, n, all.owner[at], in)
			}
		}
	}
}

func (c *plan) addNote(p *pair, a *usdt.AttrSpec, n int, f *file, in *usdt.Site) {
	key := contextSite{resetSite{f, in.Offset}, n}
	if s, planned := c.contextSites[key]; planned {
		if s != nil && !slices.Contains(s.takers, p) {
			s.takers = append(s.takers, p)
		}
		return
	}
	c.contextSites[key] = nil // unless it can be told there
	if c.refuse(f, in) {
		return
	}
	pl := planner{in: in}
	slot := pl.arg(a.Arg, captureType(a.Type), a.LenArg, maxAttrBytes, "attribute "+a.Key)
	c.warnings.add(pl.missing...)
	if slot == engine.None {
		return
	}
	s := newSite(p, probe.Point)
	s.over, s.takers = []*pair{}, []*pair{p}
	s.Context = []engine.ContextValue{{Number: n, Attr: attrOf(a, slot, in)}}
	s.Marker = stream.Marker{Provider: in.Provider, Probe: in.Name, Path: f.path, Offset: in.Offset}
	c.contextSites[key] = s
	if c.resets[key.resetSite] == nil {
		c.resets[key.resetSite] = s
	}
	out := probe.Site{ID: c.register(s), Arch: f.elf.Arch, RefCtr: in.RefCtr, Effect: probe.Point, Lane: probe.NoLane, Captures: pl.captures}
	c.place(&out, in)
	f.plan = append(f.plan, out)
}
