// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"slices"
	"strings"
)

// Choice is a pair that could be traced, and whether it is.
type Choice struct {
	Pair   PairSpec
	Chosen bool
	// Why gives the reason, as a sentence fragment for a person.
	Why string
	// OnDemand says that the pair is traced when it is asked for.
	OnDemand bool
	// Asked is the text of the PairSpec that asked for the pair; empty if none did.
	Asked string
	// Warnings say what a chosen pair will lack: arguments that a site does
	// not have or that cannot be decoded, exits that are missing.
	Warnings []string
	// EnterSites, ExitSites, ResetSites and ContextSites, of other probes that tell
	// attributes, are ascending indices into the sites that were chosen from.
	EnterSites, ExitSites, ResetSites, ContextSites []int
}

type probeKey struct{ provider, name string }

// siteIndex has the indices of the sites of each probe.
type siteIndex map[probeKey][]int

func indexSites(sites []Site) siteIndex {
	ix := make(siteIndex)
	for i := range sites {
		k := probeKey{sites[i].Provider, sites[i].Name}
		ix[k] = append(ix[k], i)
	}
	return ix
}

func (ix siteIndex) all(provider string, names []string) []int {
	var is []int
	for _, name := range names {
		is = append(is, ix[probeKey{provider, name}]...)
	}
	slices.Sort(is)
	return is
}

// Choose returns every pair that the sites, of one file or of all files of a
// process, could form, and which of them to trace. The pairs of flags come first,
// and are returned even if they have no site. They are the whole choice, unless
// all of them are added to the default choice. That is our own markers where they
// are present; else the default-on pairs of the catalogue; else what the naming
// rules pair, very frequent pairs left out. A pair that is added takes the place
// of one with the same enter probe.
func Choose(sites []Site, flags []PairSpec) []Choice {
	ix := indexSites(sites)
	if len(flags) == 0 {
		return byDefault(sites, ix)
	}
	cs := chooseFlags(flags, sites, ix)
	first := len(cs)
	asked := func(c *Choice) *Choice {
		i := slices.IndexFunc(cs[:first], func(f Choice) bool {
			return f.Pair.Provider == c.Pair.Provider && f.Pair.Enter == c.Pair.Enter
		})
		if i < 0 {
			return nil
		}
		return &cs[i]
	}
	if slices.ContainsFunc(flags, func(p PairSpec) bool { return !p.Added }) {
		for _, c := range possible(sites, ix) {
			if asked(&c) == nil {
				c.Why = "not asked for: pairs that are asked for replace the default choice"
				cs = append(cs, c)
			}
		}
		return cs
	}
	for _, c := range byDefault(sites, ix) {
		if f := asked(&c); f == nil || !f.Chosen && c.Chosen {
			cs = append(cs, c)
		}
	}
	return cs
}

// byDefault is the choice that is made without flags.
func byDefault(sites []Site, ix siteIndex) []Choice {
	cs := possible(sites, ix)
	by := Origin(0) // where the choice comes from, once one is made
	for i := range cs {
		c := &cs[i]
		switch {
		case !c.whole():
			// says already what is missing
		case !c.Pair.DefaultOn:
			c.OnDemand, c.Why = true, "off by default: "+c.Pair.Why
		case by != 0 && by != c.Pair.Origin:
			c.OnDemand, c.Why = true, plural(by)+" come first"
		default:
			by = c.Pair.Origin
			c.Chosen, c.Why = true, c.Pair.Why
			c.warn(sites)
		}
	}
	return cs
}

func plural(o Origin) string {
	switch o {
	case OriginMarkers:
		return "phasetrace's own markers"
	case OriginCatalogue:
		return "pairs of known programs"
	}
	return o.String() + "s"
}

// possible returns every pair with at least one probe, in the order of
// precedence, none chosen yet.
func possible(sites []Site, ix siteIndex) []Choice {
	var cs []Choice
	known := map[probeKey]bool{}
	for _, p := range append([]PairSpec{Markers()}, Catalogue()...) {
		c := newChoice(p, ix)
		if len(c.EnterSites)+len(c.ExitSites) == 0 {
			continue
		}
		known[probeKey{p.Provider, p.Enter}] = true
		cs = append(cs, c)
	}
	found := byRule(sites, ix)
	cs = slices.Grow(cs, len(found))
	for i, r := range found {
		p := r.PairSpec
		found[i] = nil // hostile files have many: not all of them twice
		if known[probeKey{p.Provider, p.Enter}] {
			continue
		}
		if why := unlistedReason(p.Provider); why != "" {
			p.DefaultOn, p.Why, p.Attrs = false, why, nil
		}
		cs = append(cs, newChoice(p, ix))
	}
	return cs
}

// newChoice returns a pair with its sites, and what is missing as its Why.
func newChoice(p PairSpec, ix siteIndex) Choice {
	c := Choice{
		Pair:         p,
		EnterSites:   slices.Clone(ix[probeKey{p.Provider, p.Enter}]),
		ExitSites:    ix.all(p.Provider, p.Exits),
		ResetSites:   ix.all(p.Provider, p.Resets),
		ContextSites: ix.all(p.Provider, p.NoteProbes()),
	}
	switch {
	case len(c.EnterSites) == 0:
		c.Why = fmt.Sprintf("no probe %s:%s in these files", p.Provider, p.Enter)
	case len(c.ExitSites) == 0:
		c.Why = fmt.Sprintf("no exit: no probe %s:%s in these files", p.Provider, strings.Join(p.Exits, " or "))
	}
	return c
}

// whole says whether the pair has both ends.
func (c *Choice) whole() bool { return len(c.EnterSites) > 0 && len(c.ExitSites) > 0 }

// chooseFlags returns the pairs that flags ask for. What one asks for by name is left
// out where another one has it.
func chooseFlags(flags []PairSpec, sites []Site, ix siteIndex) []Choice {
	var cs, could []Choice
	for _, p := range flags {
		if !p.Named {
			cs = append(cs, chooseFlag(p, sites, ix))
		}
	}
	for _, p := range flags {
		if !p.Named {
			continue
		}
		if could == nil {
			could = possible(sites, ix)
		}
		for _, c := range chooseNamed(p, could, sites) {
			if !c.Chosen || !slices.ContainsFunc(cs, func(o Choice) bool {
				return o.Chosen && o.Pair.Provider == c.Pair.Provider && o.Pair.Enter == c.Pair.Enter
			}) {
				cs = append(cs, c)
			}
		}
	}
	return cs
}

func chooseFlag(p PairSpec, sites []Site, ix siteIndex) Choice {
	c := newChoice(p, ix)
	c.Asked = p.String()
	if !c.whole() {
		c.Why += suggestion(p, sites)
		return c
	}
	c.Chosen, c.Why = true, "asked for"
	for _, name := range slices.Concat(p.Exits, p.Resets, p.NoteProbes()) {
		if len(ix[probeKey{p.Provider, name}]) == 0 {
			c.Warnings = append(c.Warnings, fmt.Sprintf("no probe %s:%s in these files", p.Provider, name))
		}
	}
	c.warn(sites)
	return c
}

// suggestion finds probes that may have been meant by those that are missing.
func suggestion(p PairSpec, sites []Site) string {
	var providers []string
	of := make(map[string][]string) // the probes of each
	for i := range sites {
		s := &sites[i]
		if of[s.Provider] == nil {
			providers = append(providers, s.Provider)
		}
		if !slices.Contains(of[s.Provider][max(0, len(of[s.Provider])-1):], s.Name) {
			of[s.Provider] = append(of[s.Provider], s.Name)
		}
	}
	provider := p.Provider
	if of[provider] == nil {
		found := near(provider, providers)
		if len(found) == 0 {
			return ""
		}
		provider = found[0]
	}
	for _, name := range append([]string{p.Enter}, p.Exits...) {
		if provider == p.Provider && slices.Contains(of[provider], name) {
			continue
		}
		found := []string{name}
		if !slices.Contains(of[provider], name) {
			found = near(name, of[provider])
		}
		for i, other := range found {
			found[i] = provider + ":" + other
		}
		if len(found) > 0 {
			return "; did you mean " + strings.Join(found, " or ") + "?"
		}
	}
	return ""
}

// warn notes the arguments that the pair uses but its sites lack.
func (c *Choice) warn(sites []Site) {
	p := &c.Pair
	at := func(is []int, what string, arg int) {
		if arg == NoArg {
			return
		}
		for _, i := range is {
			s, why := &sites[i], ""
			switch {
			case arg >= len(s.Args):
				why = fmt.Sprintf("the probe has %d arguments", len(s.Args))
			case s.Args[arg].Err != nil:
				why = s.Args[arg].Err.Error()
			default:
				continue
			}
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s: no arg%d at %s (%#x): %s", what, arg, s.probe(), s.Location, why))
			return // one site is enough to report
		}
	}
	attrs := func(is []int, list []AttrSpec) {
		for _, a := range list {
			is := is
			if a.Probe != "" {
				is = slices.DeleteFunc(slices.Clone(c.ContextSites), func(i int) bool { return sites[i].Name != a.Probe })
			}
			at(is, a.Key, a.Arg)
			if a.Type == TypeStrLen {
				at(is, a.Key, a.LenArg)
			}
		}
	}
	attrs(c.EnterSites, p.Attrs)
	if p.NameArg != nil {
		attrs(c.EnterSites, []AttrSpec{*p.NameArg})
	}
	attrs(c.ExitSites, p.ExitAttrs)
	at(c.EnterSites, "attributes", p.AttrsJSON)
	at(c.EnterSites, "rank", p.RankArg)
	at(c.EnterSites, "token", p.TokenArg)
	at(c.ExitSites, "token", p.TokenArg)
	for _, k := range p.Key {
		at(c.EnterSites, "key", k.Enter)
		at(c.ExitSites, "key", k.Exit)
	}
}
