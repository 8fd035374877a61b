// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// past is what the summary says about released sites and pairs.
type past struct {
	zeroSites []stream.ZeroSite
	notes     []stream.Note
	forgotten uint64 // beyond maxPast
	hit       map[probeOf]bool
}

// probeOf names a probe of a file.
type probeOf struct{ path, provider, name string }

func (s *site) probe() probeOf { return probeOf{s.Path, s.Provider, s.Probe} }

// maxPast bounds each list of past.
const maxPast = 256

// note keeps what the summary will say of sites whose probes have been removed.
func (c *plan) note(sites []*site) {
	for _, s := range sites {
		hits := c.mode.hits(s.id)
		c.countHits(s, hits)
		if hits > 0 && len(c.past.hit) < maxPast {
			if c.past.hit == nil {
				c.past.hit = make(map[probeOf]bool)
			}
			c.past.hit[s.probe()] = true
		}
		z, never := c.zeroSite(s)
		s.noted = true
		if never {
			if len(c.past.zeroSites) < maxPast {
				c.past.zeroSites = append(c.past.zeroSites, z)
			} else {
				c.past.forgotten++
			}
		}
	}
}

// renewed keeps what the summary needs of sites in whose place there are others.
func (c *plan) renewed(sites []*site) {
	for _, s := range sites {
		hits := c.mode.hits(s.id)
		c.countHits(s, hits)
		if hits > 0 && len(c.past.hit) < maxPast {
			if c.past.hit == nil {
				c.past.hit = make(map[probeOf]bool)
			}
			c.past.hit[s.probe()] = true
		}
		s.noted = true
	}
}

// remove makes sites stay as they are, whose probes are out for good.
func (c *plan) remove(sites []*site) {
	for _, s := range sites {
		s.removed = true
	}
}

func (c *plan) countHits(s *site, hits uint64) {
	switch {
	case s.over != nil:
	case s.Effect == probe.Enter:
		s.pair.enters += hits
	default:
		s.pair.exits += hits
	}
}

// free lets go of sites that nobody knows any more, and of pairs without sites.
// Their numbers may be other sites' by now.
func (c *plan) free(sites []*site) {
	for _, s := range sites {
		if c.sites[s.id] == s {
			delete(c.sites, s.id)
		}
		s.pair.sites--
	}
	maps.DeleteFunc(c.resets, func(_ resetSite, s *site) bool { return slices.Contains(sites, s) })
	maps.DeleteFunc(c.contextSites, func(_ contextSite, s *site) bool { return slices.Contains(sites, s) })
	c.pairs = slices.DeleteFunc(c.pairs, func(p *pair) bool {
		if p.sites > 0 {
			return false
		}
		if n, ok := p.oneSided(p.enters, p.exits); ok && len(c.past.notes) < maxPast {
			c.past.notes = append(c.past.notes, n)
		}
		delete(c.bySpec, identity(p.spec))
		if !p.Keyed {
			c.lanes[p.Lane].pairs--
		}
		return true
	})
	c.linkResets()
}

// zeroSite returns what the summary says of a site that was never hit.
func (c *plan) zeroSite(s *site) (stream.ZeroSite, bool) {
	if !s.attached || s.noted || s.over != nil || c.mode.hits(s.id) > 0 {
		return stream.ZeroSite{}, false
	}
	return stream.ZeroSite{Marker: s.Marker, Remedy: s.pair.spec.Requires}, true
}

// zeroSites lists the sites that were attached and never hit, of probes that were hit
// at no site of their file: compilers copy code, with the sites in it, and hardly ever
// run all copies.
func (c *plan) zeroSites() []stream.ZeroSite {
	hit := maps.Clone(c.past.hit)
	if hit == nil {
		hit = make(map[probeOf]bool)
	}
	for id, s := range c.sites {
		if !s.noted && c.mode.hits(id) > 0 {
			hit[s.probe()] = true
		}
	}
	return slices.DeleteFunc(c.neverHit(), func(z stream.ZeroSite) bool {
		return hit[probeOf{z.Marker.Path, z.Marker.Provider, z.Marker.Probe}]
	})
}

// neverHit lists the sites that were attached and never hit.
func (c *plan) neverHit() []stream.ZeroSite {
	out := slices.Clone(c.past.zeroSites)
	for _, id := range slices.Sorted(maps.Keys(c.sites)) {
		if z, ok := c.zeroSite(c.sites[id]); ok {
			out = append(out, z)
		}
	}
	return out
}

// oneSided names the pairs of which only one side was ever hit, though probes
// were under both: a program that never tells of the other side, or a pair that
// does not belong together.
func (c *plan) oneSided() []stream.Note {
	type sides struct{ enters, exits uint64 }
	hits := make(map[*pair]sides)
	for _, p := range c.pairs {
		hits[p] = sides{p.enters, p.exits}
	}
	for id, s := range c.sites {
		n := hits[s.pair]
		switch {
		case s.over != nil, s.noted:
			continue
		case s.Effect == probe.Enter:
			n.enters += c.mode.hits(id)
		default:
			n.exits += c.mode.hits(id)
		}
		hits[s.pair] = n
	}
	out := slices.Clone(c.past.notes)
	for _, p := range c.pairs {
		if n, ok := p.oneSided(hits[p].enters, hits[p].exits); ok {
			out = append(out, n)
		}
	}
	slices.SortStableFunc(out, func(a, b stream.Note) int { return cmp.Compare(b.Count, a.Count) })
	return out
}

// oneSided returns a note about a pair of which only one side was hit.
func (p *pair) oneSided(enters, exits uint64) (stream.Note, bool) {
	what, count := "was entered and never exited", enters
	if enters == 0 {
		what, count = "was exited and never entered", exits
	}
	if count == 0 || enters > 0 && exits > 0 {
		return stream.Note{}, false
	}
	if p.spec.Requires != "" {
		what += ": " + p.spec.Requires
	}
	return stream.Note{What: fmt.Sprintf("pair %s %s", p.ID, what), Count: count}, true
}
