// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"slices"

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
	engine     *Engine
	counted    bool // in the kernel, see aggregate.go
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
		c.addSites(p, loader.Enter, ch.EnterSites, &all)
		c.addSites(p, loader.Exit, ch.ExitSites, &all)
		c.addResets(p, ch.ResetSites, &all)
	}
	c.linkResets()
	return nil
}

func (c *choice) addSites(p *pair, role loader.Role, indexes []int, all *allSites) {
	for _, i := range indexes {
		f, in := all.owner[i], &all.sites[i]
		if !f.newUse(use{p, role, i - all.first[f]}) || c.refuse(f, in) {
			continue
		}
		s, plan, missing := c.layOut()(p, role, f.elf.Arch, in)
		s.Path = f.path
		s.constant = c.constants(f.elf, plan.Location)
		plan.ID = uint32(len(c.engine.sites))
		c.engine.sites = append(c.engine.sites, s)
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
	if c.unsafeNops && in.Nop == usdt.Nop5 {
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
		if !f.newUse(use{p, resetRole, i - all.first[f]}) || c.refuse(f, in) {
			continue
		}
		key := resetSite{f, in.Offset}
		if s := c.resets[key]; s != nil {
			s.over = append(s.over, p)
			continue
		}
		s := &site{pair: p, over: []*pair{p}, token: none, key: none, rank: none, name: none, object: none}
		s.Marker = stream.Marker{Provider: in.Provider, Probe: in.Name, Path: f.path, Offset: in.Offset}
		if c.resets == nil {
			c.resets = make(map[resetSite]*site)
		}
		c.resets[key] = s
		f.plan = append(f.plan, loader.Site{
			ID: uint32(len(c.engine.sites)), Arch: f.elf.Arch, Location: in.Location,
			Offset: in.Offset, RefCtr: in.RefCtr, Role: loader.Exit, Lane: loader.NoLane,
		})
		c.engine.sites = append(c.engine.sites, s)
	}
}

// resetRole is the role of a reset site in a use; no record has it.
const resetRole loader.Role = 0xff

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
	p := &pair{spec: spec}
	if spec.NameArg == nil {
		p.name = []byte(spec.Name)
	}
	if !p.keyed() {
		n := slices.Index(c.lanes, spec.Lane)
		if n < 0 {
			if len(c.lanes) == loader.MaxLanes {
				return nil, fmt.Errorf("pair %s: more than %d lanes; let some pairs share one (lane=NAME)", id, loader.MaxLanes)
			}
			c.lanes = append(c.lanes, spec.Lane)
			n = len(c.lanes) - 1
		}
		p.lane = uint8(n)
	}
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
		p.resets = p.resets[:0]
		for _, other := range c.pairs {
			if other != p && other.spec.Provider == p.spec.Provider && other.lane == p.lane &&
				slices.Contains(other.spec.Resets, p.spec.Enter) {
				p.resets = append(p.resets, other)
			}
		}
	}
}

// infos describes the pairs for sinks.
func (c *choice) infos() []stream.PairInfo {
	count := make(map[*pair]int)
	for _, s := range c.engine.sites {
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
