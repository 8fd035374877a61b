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
// of the enter probe. The integer arguments of the enter probe become attributes
// of pairs that are on, and pairs with the same ones share them: they must not be
// written to. Our own markers are not among the pairs.
func ByRule(sites []Site) []PairSpec {
	found := byRule(sites, indexSites(sites))
	pairs := make([]PairSpec, len(found))
	for i, p := range found {
		pairs[i] = p.PairSpec
	}
	return pairs
}

func byRule(sites []Site, ix siteIndex) []*ruled {
	m := matcher{sites: sites, ix: ix, taken: make(map[probeKey]bool), shown: make(map[[maxShown]AttrSpec][]AttrSpec)}
	groups := m.group()
	for at := last; at <= joined; at++ {
		for _, g := range groups {
			if g.place == at && len(g.members) > 1 && g.enters {
				m.match(g)
			}
		}
	}
	m.matchAfters()
	m.judgeSpans()
	slices.SortStableFunc(m.pairs, func(a, b *ruled) int { return a.order - b.order })
	tellApart(m.pairs)
	for _, p := range m.pairs {
		if p.DefaultOn { // one that is asked for has the attributes that are asked for
			p.Attrs = m.integers(&p.PairSpec)
		}
	}
	return m.pairs
}

// matcher pairs the probes of sites.
type matcher struct {
	sites  []Site
	ix     siteIndex
	probes []probeKey // each once, in the order of their first sites
	taken  map[probeKey]bool
	pairs  []*ruled
	shown  map[[maxShown]AttrSpec][]AttrSpec
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
	enters                  bool // it has a word that enters
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

// group finds the probes and returns the groups they are in.
func (m *matcher) group() (groups []*group) {
	type key struct {
		provider, before, after string
		place                   place
	}
	known := make(map[key]*group)
	var forms []form
	seen := make(map[probeKey]bool, len(m.ix))
	m.probes = make([]probeKey, 0, len(m.ix))
	for i := range m.sites {
		k := probeKey{m.sites[i].Provider, m.sites[i].Name}
		if k.provider == markerProvider || seen[k] {
			continue
		}
		seen[k] = true
		forms = formsOf(k.name, forms[:0])
		for _, f := range forms {
			id := key{k.provider, f.before, f.after, f.place}
			g := known[id]
			if g == nil {
				g = &group{provider: k.provider, before: f.before, after: f.after, place: f.place}
				known[id] = g
				groups = append(groups, g)
			}
			g.enters = g.enters || enters[f.word]
			g.members = append(g.members, member{k, f.word, f.text, len(m.probes)})
		}
		m.probes = append(m.probes, k)
	}
	return groups
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
		p.Why = "paired by name: " + enter.text + " and " + exit.text
		m.judge(&p, c.nature)
		m.add(p, c.nature, enter.order)
	}
}

// matchAfters pairs a probe with another one whose name adds a word, such as parse
// and parse_done. Often the first is no enter but an event of its own, so these
// pairs are off.
func (m *matcher) matchAfters() {
	var order map[probeKey]int // of the probes; made when it is needed
	var forms []form
	for _, k := range m.probes {
		if m.taken[k] {
			continue
		}
		forms = formsOf(k.name, forms[:0])
		for _, f := range forms {
			enter := probeKey{k.provider, strings.TrimRight(f.before, "_-")}
			if f.place != last || !afters[f.word] || m.taken[enter] || m.taken[k] || len(m.ix[enter]) == 0 {
				continue
			}
			if order == nil {
				order = make(map[probeKey]int, len(m.probes))
				for i, k := range m.probes {
					order[k] = i
				}
			}
			m.taken[enter], m.taken[k] = true, true
			p := newPair(OriginRule, k.provider, enter.name, k.name)
			p.Name = nameOf(k.provider, enter.name, "", "")
			p.Why = "paired by name, with " + f.text + "; but " + enter.name + " may be an event that this does not end"
			m.add(p, message, order[enter])
		}
	}
}

// add adds a pair; order is that of its enter.
func (m *matcher) add(p PairSpec, n nature, order int) {
	m.pairs = append(m.pairs, &ruled{p, n, order})
}

// judge says whether a pair of this nature is on, and what matches its ends.
func (m *matcher) judge(p *PairSpec, n nature) {
	p.DefaultOn = n == work || n == span
	if n == errand || n == message || n == lifetime {
		m.setKey(p)
	}
	var also string
	switch {
	case n == errand && p.Keyed() && m.alone(p):
		p.DefaultOn = true
		also = fmt.Sprintf("several may be under way at once, told apart by %s", p.KeyText())
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
	if !p.Keyed() {
		return "no argument offers itself to tell which belong together: add key=argN if there is one"
	}
	return fmt.Sprintf("nothing proves that %s tells which belong together: check it, or use another argument", p.KeyText())
}

// judgeSpans turns off spans of providers that have other words for work.
func (m *matcher) judgeSpans() {
	works := make(map[string]bool)
	for i := range m.pairs {
		if p := m.pairs[i]; p.nature == work {
			works[p.Provider] = true
		}
	}
	for i := range m.pairs {
		if p := m.pairs[i]; p.nature == span && works[p.Provider] && p.DefaultOn {
			p.DefaultOn = false
			p.Why += "; that may be how long something runs rather than work, for which this provider has other words"
		}
	}
}

// tellApart renames pairs that have the same name as another: the provider comes
// before it where that helps, else the enter probe's whole name replaces it. Pairs
// that are on keep their names beside ones that are off.
func tellApart(pairs []*ruled) {
	type bearer struct {
		name, provider string // provider: "" for all
		on             bool
	}
	pairsOf := make(map[bearer]int) // with this name at this provider
	providers := make(map[bearer]int)
	count := func(p *ruled, on bool) {
		b := bearer{p.Name, p.Provider, on}
		if pairsOf[b]++; pairsOf[b] == 1 {
			providers[bearer{p.Name, "", on}]++
		}
	}
	for _, p := range pairs {
		count(p, false)
		if p.DefaultOn {
			count(p, true)
		}
	}
	for _, p := range pairs {
		name := p.Name
		if pairsOf[bearer{name, p.Provider, p.DefaultOn}] > 1 {
			p.Name = p.Enter
		}
		if providers[bearer{name, "", p.DefaultOn}] > 1 && p.Name != p.Provider {
			sep := ":"
			if looksLikeArg(p.Provider + sep + p.Name) {
				sep = " " // --pair would take it for an argument
			}
			p.Name = p.Provider + sep + p.Name
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
	for _, f := range formsOf(enter, nil) {
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
