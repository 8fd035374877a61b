// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"slices"

	"github.com/phasetrace/phasetrace/internal/engine"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// planCounted lays out a site that is counted in the kernel: of a phase nothing
// but its name is kept, and of the name first its address.
func planCounted(p *pair, effect probe.Effect, arch probe.Arch, in *usdt.Site) (*site, probe.Site, []string) {
	s := newSite(p, effect)
	s.Marker = stream.Marker{Provider: in.Provider, Probe: in.Name, Offset: in.Offset}
	pl := planner{in: in}
	s.Token = pl.arg(p.spec.TokenArg, probe.CaptureInt, 0, 0, "token")
	if n := p.spec.NameArg; n != nil && effect == probe.Enter {
		s.Name = pl.arg(n.Arg, probe.CaptureInt, 0, 0, "name")
		if n.Type == usdt.TypeStrLen && pl.arg(n.LenArg, probe.CaptureInt, 0, 0, "length of the name") == engine.None {
			s.Name = engine.None
		}
	}
	return s, probe.Site{
		Arch: arch, RefCtr: in.RefCtr,
		Effect: effect, Lane: p.Lane, Captures: pl.captures,
	}, pl.missing
}

// constants returns the largest parts of a file that are mapped read-only, as
// seen from an address in it.
func constants(f *usdt.File, from uint64) (out [2]loader.RelativeRange) {
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
		Site: id, Role: s.Effect, Lane: s.pair.Lane, Pair: uint8(slices.Index(pairs, s.pair)),
		Token: s.Token != engine.None, Constant: s.constant, Gate: s.gate, Since: s.since,
	}
	if s.over != nil {
		out.Role, out.Token, out.Over = probe.Exit, false, pairMask(pairs, s.over)
		return out
	}
	if s.Effect != probe.Enter {
		return out
	}
	if !s.pair.Reentrant {
		out.Stale = pairMask(pairs, []*pair{s.pair})
	}
	out.Stale |= resetMask(pairs, s.pair)
	s.countedName(&out)
	return out
}

// countedName says where an enter's name is, or what is shown instead.
func (s *site) countedName(out *loader.AggregateSite) {
	n := s.pair.spec.NameArg
	switch {
	case n == nil:
		out.Literal = loader.LiteralOf(out.Pair)
	case s.Name == engine.None:
		out.Literal = loader.LiteralUnreadable
	case n.Type == usdt.TypeStr:
		out.Name, out.NameSlot = loader.NameString, uint8(s.Name)
	case n.Type == usdt.TypeStrLen:
		out.Name, out.NameSlot = loader.NameBytes, uint8(s.Name)
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

// resetMask is the pairs that the enter of a pair proves to be over.
func resetMask(pairs []*pair, of *pair) (mask uint64) {
	for i, p := range pairs {
		if slices.Contains(of.Resets, p.Pair) {
			mask |= 1 << i
		}
	}
	return mask
}
