// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// errKeyed refuses what the kernel does not count.
var errKeyed = errors.New("phases matched by a key may change threads, and each thread counts for itself: leave out key= or trace without --aggregate")

// checkCounted refuses what was asked for and cannot be counted.
func checkCounted(pairs []usdt.PairSpec) error {
	for _, p := range pairs {
		if p.KeyArg != usdt.NoArg {
			return fmt.Errorf("--aggregate with --pair %s: %w", p.String(), errKeyed)
		}
	}
	return nil
}

// skipCounted leaves a pair of the default choice out that cannot be counted,
// and warns of it.
func (c *choice) skipCounted(p usdt.PairSpec) bool {
	if !c.counted || p.KeyArg == usdt.NoArg {
		return false
	}
	c.warn([]string{fmt.Sprintf("pair %s is left out: %v", p.String(), errKeyed)})
	return true
}

// layOut returns what lays out the sites of this session.
func (c *choice) layOut() func(*pair, loader.Role, usdt.Arch, *usdt.Site) (*site, loader.Site, []string) {
	if c.counted {
		return planCounted
	}
	return planSite
}

// planCounted lays out a site that is counted in the kernel: of a phase nothing
// but its name is kept, and of the name first its address.
func planCounted(p *pair, role loader.Role, arch usdt.Arch, in *usdt.Site) (*site, loader.Site, []string) {
	s := &site{pair: p, role: role, key: none, rank: none, name: none, object: none}
	s.Marker = stream.Marker{Provider: in.Provider, Probe: in.Name, Offset: in.Offset}
	pl := planner{in: in}
	s.token = pl.arg(p.spec.TokenArg, loader.CaptureInt, 0, 0, "token")
	if n := p.spec.NameArg; n != nil && role == loader.Enter {
		s.name = pl.arg(n.Arg, loader.CaptureInt, 0, 0, "name")
		if n.Type == usdt.TypeStrLen && pl.arg(n.LenArg, loader.CaptureInt, 0, 0, "length of the name") == none {
			s.name = none
		}
	}
	return s, loader.Site{
		Arch: arch, Location: in.Location, Offset: in.Offset, RefCtr: in.RefCtr,
		Role: role, Lane: p.lane, Captures: pl.captures,
	}, pl.missing
}

// constants returns the largest parts of a file that are mapped read-only, as
// seen from an address in it.
func (c *choice) constants(f *usdt.File, from uint64) (out [2]loader.RelativeRange) {
	if !c.counted {
		return out
	}
	parts := slices.SortedFunc(slices.Values(f.Constant), func(a, b usdt.Range) int {
		return cmp.Compare(b.End-b.Start, a.End-a.Start)
	})
	for i, r := range parts[:min(len(parts), len(out))] {
		out[i] = loader.RelativeRange{Low: r.Start - from, Len: r.End - r.Start}
	}
	return out
}

// counted says how hits of a site are counted. pairs gives the pairs their
// numbers.
func (s *site) counted(id uint32, pairs []*pair) loader.AggregateSite {
	out := loader.AggregateSite{
		Site: id, Role: s.role, Lane: s.pair.lane, Pair: uint8(slices.Index(pairs, s.pair)),
		Token: s.token != none, Constant: s.constant, Gate: s.gate.time, Since: s.gate.boot,
	}
	if s.over != nil {
		out.Role, out.Token, out.Over = loader.Exit, false, pairMask(pairs, s.over)
		return out
	}
	if s.role != loader.Enter {
		return out
	}
	if !s.pair.spec.Reentrant {
		out.Stale = pairMask(pairs, []*pair{s.pair})
	}
	out.Stale |= pairMask(pairs, s.pair.resets)
	s.countedName(&out)
	return out
}

// countedName says where an enter's name is, or what is shown instead.
func (s *site) countedName(out *loader.AggregateSite) {
	n := s.pair.spec.NameArg
	switch {
	case n == nil:
		out.Literal = loader.LiteralOf(out.Pair)
	case s.name == none:
		out.Literal = loader.LiteralUnreadable
	case n.Type == usdt.TypeStr:
		out.Name, out.NameSlot = loader.NameString, uint8(s.name)
	case n.Type == usdt.TypeStrLen:
		out.Name, out.NameSlot = loader.NameBytes, uint8(s.name)
	default:
		out.Literal = loader.LiteralEmpty // a number is no name
	}
}

// pairMask is the pairs of a set, a bit each.
func pairMask(pairs, set []*pair) (mask uint64) {
	for _, p := range set {
		mask |= 1 << slices.Index(pairs, p)
	}
	return mask
}
