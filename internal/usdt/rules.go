// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"slices"
	"strings"
)

// frequent are words in probe names that suggest millions of events. A pair with
// one of them is off unless asked for.
var frequent = map[string]bool{
	"alloc": true, "bif": true, "calloc": true, "cmethod": true, "free": true,
	"function": true, "futex": true, "inst": true, "instruction": true,
	"lock": true, "lwlock": true, "malloc": true, "method": true, "mutex": true,
	"nif": true, "opcode": true, "operator": true, "packet": true, "poll": true,
	"proc": true, "rdlock": true, "realloc": true, "row": true, "rwlock": true,
	"spinlock": true, "sub": true, "syscall": true, "task": true, "unlock": true,
	"wrlock": true,
}

// ByRule returns the pairs that the names of the probes suggest: probes of one
// provider whose names differ in one word only, which comes last, first or alone,
// and which brackets work in one of the ways that docs/pairs.md lists. Each probe
// is in one pair at most. The phase is named after what the names share, with __
// written as "-", the way DTrace shows probes, or after the provider if they share
// nothing; what would be named alike is told apart by the provider or the whole name
// of the enter probe. The integer arguments of the enter probe become attributes.
// Our own markers are not among the pairs.
func ByRule(sites []Site) []PairSpec { return byRule(sites, indexSites(sites)) }

func byRule(sites []Site, ix siteIndex) []PairSpec {
	m := matcher{sites: sites, ix: ix, taken: make(map[probeKey]bool)}
	m.group()
	for at := last; at <= joined; at++ {
		for _, g := range m.groups {
			if g.place == at && len(g.members) > 1 {
				m.match(g)
			}
		}
	}
	m.matchAfters()
	m.judgeSpans()
	slices.SortStableFunc(m.pairs, func(a, b ruled) int { return a.order - b.order })
	pairs := make([]PairSpec, len(m.pairs))
	for i := range m.pairs {
		pairs[i] = m.pairs[i].PairSpec
	}
	tellApart(pairs)
	return pairs
}

// matcher pairs the probes of sites.
type matcher struct {
	sites  []Site
	ix     siteIndex
	probes []probeKey // each once, in the order of their first sites
	groups []*group
	taken  map[probeKey]bool
	pairs  []ruled
}

// ruled is a pair and the index of its enter among the probes.
type ruled struct {
	PairSpec
	nature nature
	order  int
}

// group is the probes whose names are the same but for one word.
type group struct {
	provider, before, after string
	place                   place
	members                 []member
}

// member is a probe of a group, and its word.
type member struct {
	probeKey
	word, text string
	order      int
}

// of returns the member with a word that is in no pair yet.
func (m *matcher) of(g *group, word string) *member {
	for i := range g.members {
		if p := &g.members[i]; p.word == word && !m.taken[p.probeKey] {
			return p
		}
	}
	return nil
}

// group finds the probes and the groups they are in.
func (m *matcher) group() {
	type key struct {
		provider, before, after string
		place                   place
	}
	known := make(map[key]*group)
	seen := make(map[probeKey]bool, len(m.ix))
	for i := range m.sites {
		k := probeKey{m.sites[i].Provider, m.sites[i].Name}
		if k.provider == markerProvider || seen[k] {
			continue
		}
		seen[k] = true
		for _, f := range formsOf(k.name) {
			id := key{k.provider, f.before, f.after, f.place}
			g := known[id]
			if g == nil {
				g = &group{provider: k.provider, before: f.before, after: f.after, place: f.place}
				known[id] = g
				m.groups = append(m.groups, g)
			}
			g.members = append(g.members, member{k, f.word, f.text, len(m.probes)})
		}
		m.probes = append(m.probes, k)
	}
}

// match pairs the members of a group.
func (m *matcher) match(g *group) {
	for _, c := range couples {
		enter, exit := m.of(g, c.enter), m.of(g, c.exit)
		if enter == nil || exit == nil {
			continue
		}
		ends := []string{exit.name}
		m.taken[enter.probeKey], m.taken[exit.probeKey] = true, true
		for _, word := range closers {
			if also := m.of(g, word); also != nil && c.nature == work && g.before+g.after != "" {
				m.taken[also.probeKey] = true
				ends = append(ends, also.name)
			}
		}
		p := newPair(OriginRule, g.provider, enter.name, ends...)
		rest := g.before + strings.TrimLeft(g.after, "_-")
		p.Name = nameOf(g.provider, rest, g.before+strings.Trim(enter.text, "_-")+g.after, c.enter)
		p.Why = fmt.Sprintf("paired by name: %s and %s", enter.text, exit.text)
		m.judge(&p, c.nature)
		m.add(p, c.nature, enter.order)
	}
}

// matchAfters pairs a probe with another one whose name adds a word, such as parse
// and parse_done. Often the first is no enter but an event of its own, so these
// pairs are off.
func (m *matcher) matchAfters() {
	order := make(map[probeKey]int, len(m.probes))
	for i, k := range m.probes {
		order[k] = i
	}
	for _, k := range m.probes {
		for _, f := range formsOf(k.name) {
			enter := probeKey{k.provider, strings.TrimRight(f.before, "_-")}
			at, ok := order[enter]
			if f.place != last || !afters[f.word] || !ok || m.taken[enter] || m.taken[k] {
				continue
			}
			m.taken[enter], m.taken[k] = true, true
			p := newPair(OriginRule, k.provider, enter.name, k.name)
			p.Name = nameOf(k.provider, enter.name, "", "")
			p.Why = fmt.Sprintf("paired by name, with %s; but %s may be an event that this does not end", f.text, enter.name)
			m.add(p, message, at)
		}
	}
}

// add adds a pair; order is that of its enter.
func (m *matcher) add(p PairSpec, n nature, order int) {
	p.Attrs = m.integers(&p)
	m.pairs = append(m.pairs, ruled{p, n, order})
}

// judge says whether a pair of this nature is on, and what matches its ends.
func (m *matcher) judge(p *PairSpec, n nature) {
	p.DefaultOn = n == work || n == span
	if n == errand || n == message || n == lifetime {
		m.setKey(p)
	}
	var also string
	switch {
	case n == errand && p.KeyArg != NoArg && m.alone(p):
		p.DefaultOn = true
		also = fmt.Sprintf("several may be under way at once, told apart by arg%d", p.KeyArg)
	case n == errand:
		also = "several may be under way at once, and " + p.unproven()
	case n == message:
		also = "they may be messages that have nothing to do with each other, and " + p.unproven()
	case n == lifetime:
		also = "that is how long something exists or is held rather than work"
	}
	if also != "" {
		p.Why += "; " + also
	}
	if word := frequentWord(p.Enter); word != "" && p.DefaultOn {
		p.DefaultOn, p.Why = false, fmt.Sprintf("its name (%s) suggests very frequent events", word)
	}
}

// unproven says what is not known of the arguments of a pair.
func (p *PairSpec) unproven() string {
	if p.KeyArg == NoArg {
		return "no argument offers itself to tell which belong together: add key=argN if there is one"
	}
	return fmt.Sprintf("nothing proves that arg%d tells which belong together: check it, or use another argument", p.KeyArg)
}

// judgeSpans turns off spans of providers that have other words for work.
func (m *matcher) judgeSpans() {
	works := make(map[string]bool)
	for i := range m.pairs {
		if p := &m.pairs[i]; p.nature == work {
			works[p.Provider] = true
		}
	}
	for i := range m.pairs {
		if p := &m.pairs[i]; p.nature == span && works[p.Provider] && p.DefaultOn {
			p.DefaultOn = false
			p.Why += "; that may be how long something runs rather than work, for which this provider has other words"
		}
	}
}

// tellApart renames pairs that have the same name as another: the provider comes
// before it where that helps, else the enter probe's whole name replaces it. Pairs
// that are on keep their names beside ones that are off.
func tellApart(pairs []PairSpec) {
	type rivals struct{ on, all map[string]int } // by provider
	named := make(map[string]rivals)
	for i := range pairs {
		p := &pairs[i]
		r, ok := named[p.Name]
		if !ok {
			r = rivals{make(map[string]int), make(map[string]int)}
			named[p.Name] = r
		}
		r.all[p.Provider]++
		if p.DefaultOn {
			r.on[p.Provider]++
		}
	}
	for i := range pairs {
		p := &pairs[i]
		of := named[p.Name].all
		if p.DefaultOn {
			of = named[p.Name].on
		}
		if of[p.Provider] > 1 {
			p.Name = p.Enter
		}
		if len(of) > 1 && p.Name != p.Provider {
			p.Name = p.Provider + ":" + p.Name
		}
	}
}

// frequentWord returns the word of a name that suggests frequent events, empty if
// there is none.
func frequentWord(name string) string {
	var buf [8]word
	for _, w := range wordsOf(name, buf[:0]) {
		if frequent[w.lower] || frequent[strings.TrimSuffix(w.lower, "s")] {
			return w.lower
		}
	}
	return ""
}

// phaseName returns the name of the phase that a probe enters.
func phaseName(provider, enter string) string {
	for _, f := range formsOf(enter) {
		if f.place <= first && enters[f.word] {
			return nameOf(provider, f.before+f.after, enter, f.word)
		}
	}
	return nameOf(provider, enter, "", "")
}

// nameOf returns the name of a phase: what is left of a probe's name without its
// word, or the whole name where the word is a noun. __ is written as "-". If
// nothing is left, it is the provider or the word.
func nameOf(provider, rest, whole, word string) string {
	bare := strings.Trim(rest, "_-") == ""
	if bare && things[word] || nouns[word] {
		rest = whole
	}
	name := strings.Trim(strings.ReplaceAll(strings.Trim(rest, "_"), "__", "-"), "-")
	if name == "" {
		return provider
	}
	return name
}
