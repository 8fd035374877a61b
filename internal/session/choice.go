// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/engine"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// choice keeps which pairs a session traces and gives their sites numbers.
type choice struct {
	flags    []usdt.PairSpec
	pairs    []*pair
	bySpec   map[string]*pair
	lanes    []string
	warnings []string
	unsaid   int // warnings beyond maxWarnings, not told apart
	resets   map[resetSite]*site
	// What the kernel does with long nops, and whether the user wants to risk it.
	rewriting  loader.Rewriting
	unsafeNops bool
	refused    int // sites left alone because of it
	engine     *engine.Engine
	sites      []*site // by probe.Site.ID
	counted    bool    // in the kernel, see aggregate.go
}

// plan adds the sites of the files of one process to the session: those that a
// chosen pair uses and that are in no plan for it yet.
func (c *choice) plan(l *looked) error {
	all := l.sites()
	for _, ch := range usdt.Choose(all.sites, c.flags) {
		if !ch.Chosen || c.skipCounted(ch.Pair) {
			continue
		}
		p, err := c.pair(ch.Pair)
		if err != nil {
			return err
		}
		c.warn(ch.Warnings)
		l.pairs = append(l.pairs, p)
		c.addSites(p, probe.Enter, ch.EnterSites, &all)
		c.addSites(p, probe.Exit, ch.ExitSites, &all)
		c.addResets(p, ch.ResetSites, &all)
	}
	c.linkResets()
	return nil
}

func (c *choice) addSites(p *pair, effect probe.Effect, indexes []int, all *allSites) {
	for _, i := range indexes {
		f, in := all.owner[i], &all.sites[i]
		if !f.newUse(use{p, effect, i - all.first[f]}) || c.refuse(f, in) {
			continue
		}
		s, plan, missing := c.layOut()(p, effect, f.elf.Arch, in)
		s.Path = f.path
		s.constant = c.constants(f.elf, plan.Location)
		plan.ID = c.add(s)
		f.plan = append(f.plan, plan)
		c.warn(missing)
	}
}

// refuse reports whether a site is left alone because of the instruction that
// is there, and tells of it.
func (c *choice) refuse(f *file, in *usdt.Site) bool {
	why := c.rewriting.Refuses(in.Nop)
	if why == "" {
		return false
	}
	name := fmt.Sprintf("%s:%s at %s+%#x", in.Provider, in.Name, f.path, in.Offset)
	if c.unsafeNops && in.Nop == probe.Nop5 {
		c.warn([]string{name + ": attached as --unsafe-nops asks, although " + why})
		return false
	}
	c.refused++
	c.warn([]string{name + " is not attached: " + why})
	return true
}

// maxWarnings bounds the warnings of a session: a followed program can run any
// number of files.
const maxWarnings = 1024

// warn adds warnings that have not been given before: a file is looked at
// again whenever another process maps it. Beyond the bound they are counted.
func (c *choice) warn(warnings []string) {
	for _, w := range warnings {
		switch {
		case slices.Contains(c.warnings, w):
		case len(c.warnings) == maxWarnings:
			c.unsaid++
		default:
			c.warnings = append(c.warnings, w)
		}
	}
}

// addResets adds the sites that prove a pair to be over, one for all pairs that
// share it. Where the probe is the enter of a traced pair, that does it.
func (c *choice) addResets(p *pair, indexes []int, all *allSites) {
	for _, i := range indexes {
		f, in := all.owner[i], &all.sites[i]
		if !f.newUse(use{p, probe.Point, i - all.first[f]}) || c.refuse(f, in) {
			continue
		}
		key := resetSite{f, in.Offset}
		if s := c.resets[key]; s != nil {
			s.over = append(s.over, p)
			s.Over = append(s.Over, p.Pair)
			continue
		}
		s := newSite(p, probe.Point)
		s.over, s.Over = []*pair{p}, []*engine.Pair{p.Pair}
		s.Marker = stream.Marker{Provider: in.Provider, Probe: in.Name, Path: f.path, Offset: in.Offset}
		if c.resets == nil {
			c.resets = make(map[resetSite]*site)
		}
		c.resets[key] = s
		f.plan = append(f.plan, probe.Site{
			ID: c.add(s), Arch: f.elf.Arch, Location: in.Location,
			Offset: in.Offset, RefCtr: in.RefCtr, Effect: probe.Point, Lane: probe.NoLane,
		})
	}
}

// add gives a site its number.
func (c *choice) add(s *site) uint32 {
	c.sites = append(c.sites, s)
	return c.engine.AddSite(s.Site)
}

// resetSite names a reset site.
type resetSite struct {
	file   *file
	offset uint64
}

// pair returns the runtime form of a pair, made once.
func (c *choice) pair(spec usdt.PairSpec) (*pair, error) {
	id := spec.String()
	if p := c.bySpec[id]; p != nil {
		return p, nil
	}
	lane := uint8(0)
	if spec.KeyArg == usdt.NoArg {
		n := slices.Index(c.lanes, spec.Lane)
		if n < 0 {
			if len(c.lanes) == probe.MaxLanes {
				return nil, fmt.Errorf("pair %s: more than %d lanes; let some pairs share one (lane=NAME)", id, probe.MaxLanes)
			}
			c.lanes = append(c.lanes, spec.Lane)
			n = len(c.lanes) - 1
		}
		lane = uint8(n)
	}
	p := newPair(spec, lane)
	if c.bySpec == nil {
		c.bySpec = make(map[string]*pair)
	}
	c.bySpec[id] = p
	c.pairs = append(c.pairs, p)
	return p, nil
}

// linkResets tells every pair which others cannot be open when it is entered.
func (c *choice) linkResets() {
	for _, p := range c.pairs {
		p.Resets = p.Resets[:0]
		for _, other := range c.pairs {
			if other != p && other.spec.Provider == p.spec.Provider && other.Lane == p.Lane &&
				slices.Contains(other.spec.Resets, p.spec.Enter) {
				p.Resets = append(p.Resets, other.Pair)
			}
		}
	}
}

// infos describes the pairs for sinks.
func (c *choice) infos() []stream.PairInfo {
	count := make(map[*pair]int)
	for _, s := range c.sites {
		if s.over == nil {
			count[s.pair]++
		}
	}
	var out []stream.PairInfo
	for _, p := range c.pairs {
		out = append(out, p.info(count[p]))
	}
	return out
}
