// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"slices"

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
	resets   map[resetSite]*site
	// What the kernel does with long nops, and whether the user wants to risk it.
	rewriting  loader.Rewriting
	unsafeNops bool
	refused    int // sites left alone because of it
	engine     *Engine
	counted    bool // in the kernel, see aggregate.go
}

// plan adds the sites of the files of one process to the session: those of
// chosen pairs whose file has no plan yet.
func (c *choice) plan(l *looked) error {
	all, owner := l.sites()
	chosen := usdt.Choose(all, c.flags)
	fresh := make([]bool, len(l.open))
	for i, f := range l.open {
		fresh[i] = len(f.plan) == 0
	}
	for _, ch := range chosen {
		if !ch.Chosen || c.skipCounted(ch.Pair) {
			continue
		}
		p, err := c.pair(ch.Pair)
		if err != nil {
			return err
		}
		c.warn(ch.Warnings)
		c.addSites(p, loader.Enter, ch.EnterSites, all, owner, l, fresh)
		c.addSites(p, loader.Exit, ch.ExitSites, all, owner, l, fresh)
		c.addResets(p, ch.ResetSites, all, owner, l, fresh)
	}
	c.linkResets()
	return nil
}

func (c *choice) addSites(p *pair, role loader.Role, indexes []int, all []usdt.Site, owner []int, l *looked, fresh []bool) {
	for _, i := range indexes {
		if !fresh[owner[i]] {
			continue
		}
		f := l.open[owner[i]]
		if c.refuse(f.file, &all[i]) {
			continue
		}
		s, plan, missing := c.layOut()(p, role, f.elf.Arch, &all[i])
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

// warn adds warnings that have not been given before: a file is looked at
// again whenever another process maps it.
func (c *choice) warn(warnings []string) {
	for _, w := range warnings {
		if !slices.Contains(c.warnings, w) {
			c.warnings = append(c.warnings, w)
		}
	}
}

// addResets adds the sites that prove a pair to be over, one for all pairs that
// share it. Where the probe is the enter of a traced pair, that does it.
func (c *choice) addResets(p *pair, indexes []int, all []usdt.Site, owner []int, l *looked, fresh []bool) {
	for _, i := range indexes {
		f := l.open[owner[i]]
		if !fresh[owner[i]] {
			continue
		}
		key := resetSite{f.file, all[i].Offset}
		if c.refuse(f.file, &all[i]) {
			continue
		}
		if s := c.resets[key]; s != nil {
			s.over = append(s.over, p)
			continue
		}
		s := &site{pair: p, over: []*pair{p}, token: none, key: none, rank: none, name: none, object: none}
		s.Marker = Marker{Provider: all[i].Provider, Probe: all[i].Name, Path: f.path, Offset: all[i].Offset}
		if c.resets == nil {
			c.resets = make(map[resetSite]*site)
		}
		c.resets[key] = s
		f.plan = append(f.plan, loader.Site{
			ID: uint32(len(c.engine.sites)), Arch: f.elf.Arch, Location: all[i].Location,
			Offset: all[i].Offset, RefCtr: all[i].RefCtr, Role: loader.Exit, Lane: loader.NoLane,
		})
		c.engine.sites = append(c.engine.sites, s)
	}
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
func (c *choice) infos() []PairInfo {
	count := make(map[*pair]int)
	for _, s := range c.engine.sites {
		if s.over == nil {
			count[s.pair]++
		}
	}
	var out []PairInfo
	for _, p := range c.pairs {
		out = append(out, p.info(count[p]))
	}
	return out
}
