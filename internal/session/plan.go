// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// plan says which pairs a session traces. It owns the table of sites.
type plan struct {
	cfg          *Config
	core         *core
	mode         mode
	pairs        []*pair
	bySpec       map[string]*pair // by identity
	lanes        [probe.MaxLanes]lane
	sites        map[uint32]*site // by probe.Site.ID
	resets       map[resetSite]*site
	context      []contextKey // by number
	contextSites map[contextSite]*site
	warnings     *warnings
	// What the kernel does with long nops.
	rewriting loader.Rewriting
	refused   int // sites left alone because of it
	past      past
	told      map[string]bool // pairs that are left off, by their text
	asked     asked
}

// lane is a lane's name, and how many pairs are on it.
type lane struct {
	name  string
	pairs int
}

func newPlan(cfg *Config, core *core, m mode, w *warnings) *plan {
	return &plan{
		cfg: cfg, core: core, mode: m, warnings: w, rewriting: cfg.Without.Rewriting(),
		bySpec: make(map[string]*pair), sites: make(map[uint32]*site), resets: make(map[resetSite]*site),
		contextSites: make(map[contextSite]*site),
		told:         make(map[string]bool),
	}
}

// add plans the sites of the files of one process: those that a chosen pair uses
// and that are in no plan for it yet. It returns what pairs the files call for.
func (c *plan) add(open []openFile) ([]*pair, error) {
	all := sitesOf(open)
	var pairs []*pair
	var points []point
	for _, ch := range usdt.Choose(all.sites, c.cfg.Pairs) {
		c.asked.look(&ch)
		if !ch.Chosen {
			continue
		}
		if err := c.mode.refuses(ch.Pair); err != nil {
			c.warnings.add(fmt.Sprintf("pair %s is left out: %v", ch.Pair.String(), err))
			continue
		}
		if c.cfg.NoArguments && ch.Pair.Origin == usdt.OriginRule {
			ch.Pair.Attrs = nil
		}
		p, err := c.pair(ch.Pair, watchedArgs(&ch, all.sites)...)
		if err != nil {
			return pairs, err
		}
		c.warnings.add(ch.Warnings...)
		pairs = append(pairs, p)
		c.addSites(p, probe.Enter, ch.EnterSites, &all)
		c.addSites(p, probe.Exit, ch.ExitSites, &all)
		if c.mode.keepsContext() {
			c.addContext(p, ch.ContextSites, &all)
		}
		points = append(points, point{p, ch.ResetSites})
	}
	for _, at := range points { // a site that also keeps context is there by now
		c.addResets(at.pair, at.sites, &all)
	}
	c.linkResets()
	return pairs, nil
}

// leftOff returns the pairs that files have and that are traced only when they
// are asked for.
func (c *plan) leftOff(open []openFile) []usdt.PairSpec {
	var out []usdt.PairSpec
	if len(c.cfg.Pairs) > 0 {
		return nil // the user has chosen
	}
	for _, ch := range usdt.Choose(sitesOf(open).sites, nil) {
		if !ch.Chosen && !ch.Pair.DefaultOn && len(ch.EnterSites) > 0 && len(ch.ExitSites) > 0 {
			out = append(out, ch.Pair)
		}
	}
	return out
}

// tellLeftOff tells, once of each, of the pairs that the files of a process have,
// when none of them is traced.
func (c *plan) tellLeftOff(open []openFile) {
	if c.cfg.LeftOff == nil {
		return
	}
	fresh := slices.DeleteFunc(c.leftOff(open), func(p usdt.PairSpec) bool {
		id := p.String()
		told := c.told[id]
		if len(c.told) < maxWarnings {
			c.told[id] = true
		}
		return told
	})
	if len(fresh) > 0 {
		c.cfg.LeftOff(fresh)
	}
}

func (c *plan) addSites(p *pair, effect probe.Effect, indexes []int, all *allSites) {
	for _, i := range indexes {
		f, in := all.owner[i], &all.sites[i]
		if !f.newUse(use{p, effect, i - all.first[f]}) || c.refuse(f, in) {
			continue
		}
		s, out, missing := c.mode.layOut(p, effect, f.elf.Arch, in)
		c.place(&out, in)
		s.Path = f.path
		s.constant = constants(f.elf, out.Location)
		out.ID = c.register(s)
		f.plan = append(f.plan, out)
		c.warnings.add(missing...)
	}
}

// refuse reports whether a site is left alone because of the instruction that
// is there, and warns of it.
func (c *plan) refuse(f *file, in *usdt.Site) bool {
	why := c.rewriting.Refuses(in.Offset, in.Nop)
	if why == "" {
		return false
	}
	name := fmt.Sprintf("%s:%s at %s+%#x", in.Provider, in.Name, f.path, in.Offset)
	if c.cfg.UnsafeNops && in.Nop == probe.Nop5 {
		c.warnings.add(name + ": attached as was asked for, although " + why)
		return false
	}
	c.refused++
	c.warnings.add(name + " is not attached: " + why)
	return true
}

// place sets where a site is probed: at the note's location, or at a nop behind it
// of which this kernel makes more.
func (c *plan) place(out *probe.Site, in *usdt.Site) {
	at, _ := c.rewriting.Place(in.Offset, in.Nop)
	out.Offset, out.Location = at, in.Location+(at-in.Offset)
}

// addResets adds the sites that prove a pair to be over, one for all pairs that
// share it. Where the probe is the enter of a traced pair, that does it.
func (c *plan) addResets(p *pair, indexes []int, all *allSites) {
	for _, i := range indexes {
		f, in := all.owner[i], &all.sites[i]
		if !f.newUse(use{p, probe.Point, i - all.first[f]}) || c.refuse(f, in) {
			continue
		}
		key := resetSite{f, in.Offset}
		if s := c.resets[key]; s != nil {
			s.over = append(s.over, p)
			c.core.closes(s.Site, p.Pair)
			continue
		}
		s := newSite(p, probe.Point)
		s.over, s.Over = []*pair{p}, []*engine.Pair{p.Pair}
		s.Marker = stream.Marker{Provider: in.Provider, Probe: in.Name, Path: f.path, Offset: in.Offset}
		c.resets[key] = s
		out := probe.Site{ID: c.register(s), Arch: f.elf.Arch, RefCtr: in.RefCtr, Effect: probe.Point, Lane: probe.NoLane}
		c.place(&out, in)
		f.plan = append(f.plan, out)
	}
}

// register gives a site its number.
func (c *plan) register(s *site) uint32 {
	id := c.core.addSite(s.Site)
	s.id, c.sites[id] = id, s
	s.pair.sites++
	return id
}

// again plans a site once more, under another number, which it returns; the old one is
// about to be let go of.
func (c *plan) again(old *site) uint32 {
	s := &site{Site: old.Site.Again(), pair: old.pair, over: old.over, takers: old.takers, attached: true, constant: old.constant}
	for key, r := range c.resets {
		if r == old {
			c.resets[key] = s
		}
	}
	for key, r := range c.contextSites {
		if r == old {
			c.contextSites[key] = s
		}
	}
	return c.register(s)
}

// point is a pair and the sites that prove it to be over.
type point struct {
	pair  *pair
	sites []int
}

// resetSite names a reset site.
type resetSite struct {
	file   *file
	offset uint64
}

// identity names a pair. What a naming rule finds is known by its enter probe: files
// that come later can change its name, its exits and its attributes, and it must not
// be attached again for that.
func identity(spec usdt.PairSpec) string {
	if spec.Origin == usdt.OriginRule {
		return "rule " + spec.Provider + ":" + spec.Enter
	}
	return spec.String()
}

// pair returns the runtime form of a pair, made once.
func (c *plan) pair(spec usdt.PairSpec, watched ...engine.WatchedArg) (*pair, error) {
	id := identity(spec)
	if p := c.bySpec[id]; p != nil {
		return p, nil
	}
	at := uint8(0)
	if !spec.Keyed() {
		n := c.lane(spec.Lane)
		if n < 0 {
			return nil, fmt.Errorf("pair %s: more than %d lanes; let some pairs share one (lane=NAME)", spec, probe.MaxLanes)
		}
		at = uint8(n)
		c.lanes[n].name = spec.Lane
		c.lanes[n].pairs++
	}
	p := newPair(spec, at, watched...)
	c.numberContext(p)
	c.bySpec[id] = p
	c.pairs = append(c.pairs, p)
	return p, nil
}

// lane returns the number of a lane, or of one that is free; negative when there
// is none.
func (c *plan) lane(name string) int {
	named := func(l lane) bool { return l.pairs > 0 && l.name == name }
	if n := slices.IndexFunc(c.lanes[:], named); n >= 0 {
		return n
	}
	return slices.IndexFunc(c.lanes[:], func(l lane) bool { return l.pairs == 0 })
}

// linkResets tells every pair which others cannot be open when it is entered.
func (c *plan) linkResets() {
	for _, p := range c.pairs {
		var resets []*engine.Pair
		for _, other := range c.pairs {
			if other != p && other.spec.Provider == p.spec.Provider && other.Lane == p.Lane &&
				slices.Contains(other.spec.Resets, p.spec.Enter) {
				resets = append(resets, other.Pair)
			}
		}
		c.core.resets(p.Pair, resets)
	}
}

// enters says, for each pair of these sites that has enters, whether any of those
// is attached.
func (c *plan) enters(of []probe.Site) map[*engine.Pair]bool {
	attached := make(map[*engine.Pair]bool)
	touched := make(map[*pair]bool)
	for _, s := range of {
		touched[c.sites[s.ID].pair] = true
	}
	for _, s := range c.sites {
		if touched[s.pair] && s.Effect == probe.Enter {
			attached[s.pair.Pair] = attached[s.pair.Pair] || s.attached
		}
	}
	return attached
}

// infos describes the pairs for sinks.
func (c *plan) infos() []stream.PairInfo {
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

// wants reports whether pairs use a site.
func (c *plan) wants(pairs []*pair, id uint32) bool {
	s := c.sites[id]
	return slices.ContainsFunc(pairs, func(p *pair) bool { return s.pair == p || slices.Contains(s.over, p) || slices.Contains(s.takers, p) })
}
