// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"slices"
	"strings"
)

// Alone is a probe that is in no pair.
type Alone struct {
	Provider, Name string
	// Sites is how many it has.
	Sites int
	// Might are pairs that it could be an end of, as --pair takes them, the
	// likeliest first; nil for none. They are guesses by name, for a person to judge.
	Might []string
}

// closeGuess is how much worse than the best guess another one may be.
const closeGuess = 4

// Bounds: the guesses for a probe, and the probes that are guessed about. Real
// programs have hundreds.
const (
	maxPartners = 2
	maxGuessed  = 2048
)

// AloneOf returns the probes of sites that are in none of the choices, in the order
// of their first sites, with what they might pair with unless they are very many.
func AloneOf(sites []Site, choices []Choice) []Alone {
	paired := make([]bool, len(sites))
	for i := range choices {
		c := &choices[i]
		for _, is := range [][]int{c.EnterSites, c.ExitSites, c.ResetSites, c.ContextSites} {
			for _, at := range is {
				paired[at] = true
			}
		}
	}
	var alone []Alone
	at := make(map[probeKey]int)
	for i := range sites {
		if paired[i] { // and so are all sites of the probe
			continue
		}
		k := probeKey{sites[i].Provider, sites[i].Name}
		if n, ok := at[k]; ok {
			alone[n].Sites++
		} else {
			at[k] = len(alone)
			alone = append(alone, Alone{Provider: k.provider, Name: k.name, Sites: 1})
		}
	}
	if len(alone) == 0 || len(alone) > maxGuessed {
		return alone
	}
	near := newNeighbours(sites, at)
	for i := range alone {
		alone[i].Might = near.partners(probeKey{alone[i].Provider, alone[i].Name})
	}
	return alone
}

// neighbours finds probes with similar names: those that stand close in the order of
// their words, read forwards or backwards.
type neighbours struct {
	words  map[probeKey][]string
	named  map[probeKey]probeKey // by provider and words
	orders [2][]probeKey
	places [2]map[probeKey]int
}

// window is how far a similar name is looked for, in each direction of each order.
const window = 4

// newNeighbours takes the providers that have a probe that is alone.
func newNeighbours(sites []Site, alone map[probeKey]int) *neighbours {
	providers := make(map[string]bool)
	for k := range alone {
		providers[k.provider] = true
	}
	n := &neighbours{words: make(map[probeKey][]string), named: make(map[probeKey]probeKey)}
	for i := range sites {
		k := probeKey{sites[i].Provider, sites[i].Name}
		if _, ok := n.words[k]; ok || !providers[k.provider] {
			continue
		}
		var list []string
		for _, w := range wordsOf(k.name, nil) {
			list = append(list, w.lower)
		}
		n.words[k] = list
		n.named[probeKey{k.provider, strings.Join(list, " ")}] = k
		n.orders[0] = append(n.orders[0], k)
	}
	n.orders[1] = slices.Clone(n.orders[0])
	backwards := make(map[probeKey][]string, len(n.words))
	for k, list := range n.words {
		list = slices.Clone(list)
		slices.Reverse(list)
		backwards[k] = list
	}
	for d, words := range []map[probeKey][]string{n.words, backwards} {
		slices.SortStableFunc(n.orders[d], func(a, b probeKey) int {
			if c := strings.Compare(a.provider, b.provider); c != 0 {
				return c
			}
			return slices.Compare(words[a], words[b])
		})
		n.places[d] = make(map[probeKey]int, len(n.orders[d]))
		for i, k := range n.orders[d] {
			n.places[d][k] = i
		}
	}
	return n
}

// partners returns the likeliest pairs of a probe.
func (n *neighbours) partners(k probeKey) []string {
	type guess struct {
		spec  string
		score int
	}
	var found []guess
	try := func(other probeKey) {
		if other.provider != k.provider || other == k {
			return
		}
		enter, exit := k, other
		score := likeness(n.words[enter], n.words[exit])
		if back := likeness(n.words[exit], n.words[enter]); back > score {
			enter, exit, score = other, k, back
		}
		spec := enter.provider + ":" + enter.name + "/" + exit.name
		if score > 0 && !slices.ContainsFunc(found, func(g guess) bool { return g.spec == spec }) {
			found = append(found, guess{spec, score})
		}
	}
	for d, order := range n.orders {
		at := n.places[d][k]
		for i := max(0, at-window); i < min(len(order), at+window+1); i++ {
			try(order[i])
		}
	}
	list := slices.Clone(n.words[k])
	for i, word := range list {
		for _, mate := range mates[word] {
			list[i] = mate
			if other, ok := n.named[probeKey{k.provider, strings.Join(list, " ")}]; ok {
				try(other)
			}
		}
		list[i] = word
	}
	slices.SortStableFunc(found, func(a, b guess) int { return b.score - a.score })
	var specs []string
	for _, g := range found[:min(len(found), maxPartners)] {
		if g.score < found[0].score-closeGuess {
			break
		}
		if _, err := ParsePair(g.spec); err == nil { // names can be anything
			specs = append(specs, g.spec)
		}
	}
	return specs
}

// likeness says how likely an enter and an exit of these words are a pair: 0 for not,
// more for more words that they share.
func likeness(enter, exit []string) int {
	head := 0
	for head < min(len(enter), len(exit)) && enter[head] == exit[head] {
		head++
	}
	a, b := enter[head:], exit[head:]
	tail := 0
	for tail < min(len(a), len(b)) && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	a, b = a[:len(a)-tail], b[:len(b)-tail]
	shared, single := head+tail, len(enter) == 1 && len(exit) == 1
	if len(a) == 2 && len(b) == 2 && nearly(a[0], b[0]) {
		a, b, single = a[1:], b[1:], true
	}
	if len(a) == 0 || len(a) > 2 || len(b) == 0 || len(b) > 2 || shared == 0 && !single {
		return 0
	}
	score := 0
	for _, x := range a {
		for _, y := range b {
			score = max(score, affinity(x, y))
		}
	}
	if score == 0 {
		return 0
	}
	return max(1, 10*shared+score-3*(len(a)+len(b)))
}

// affinity says how well a word of an enter goes with one of an exit.
func affinity(enter, exit string) int {
	switch {
	case coupled[[2]string{enter, exit}]:
		return 5
	case opposites[enter] == exit || perfect(enter, exit):
		return 4
	case enters[enter] && exits[exit] && !exits[enter]:
		return 3
	}
	return 0
}

// nearly says whether words differ in one letter more: pass1 and pass1a.
func nearly(x, y string) bool {
	if len(x) > len(y) {
		x, y = y, x
	}
	return len(x) > 2 && len(y) == len(x)+1 && strings.HasPrefix(y, x)
}

// perfect says whether the second word is what the first has become: wait and waited,
// probing and probed.
func perfect(x, y string) bool {
	stem, ok := strings.CutSuffix(y, "ed")
	return ok && len(stem) > 1 && (x == stem || x == stem+"e" || x == stem+"ing")
}

// opposites are words that undo each other and are too weak to pair probes by.
var opposites = map[string]string{
	"rx": "tx", "new": "dispose", "create": "destroy", "created": "deleted", "add": "remove",
	"added": "removed", "alloc": "free", "ref": "unref", "lock": "unlock", "load": "unload",
	"loaded": "unloaded", "push": "pop", "attach": "detach", "connect": "disconnect", "up": "down",
	"suspend": "resume", "pause": "resume", "block": "unblock", "park": "unpark", "throw": "catch",
	"insert": "remove", "setup": "teardown", "init": "destroy", "enqueue": "dequeue", "enable": "disable",
}

// coupled are the couples, and mates the words that go with a word in either place.
var coupled, mates = func() (map[[2]string]bool, map[string][]string) {
	both, of := make(map[[2]string]bool), make(map[string][]string)
	for _, c := range couples {
		both[[2]string{c.enter, c.exit}] = true
	}
	join := func(x, y string) { of[x], of[y] = append(of[x], y), append(of[y], x) }
	for x, y := range opposites {
		join(x, y)
	}
	for _, list := range of {
		slices.Sort(list)
	}
	return both, of
}()
