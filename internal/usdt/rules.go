// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"strings"
	"unicode"
)

// rules are the endings that mark enter and exit probes, longer ones before those
// they end with.
var rules = []struct{ enter, exit string }{
	{"__start", "__done"},
	{"__begin", "__end"},
	{"__entry", "__return"},
	{"__enter", "__exit"},
	{"_start", "_end"},
	{"_begin", "_end"},
	{"_enter", "_exit"},
	{"_entry", "_exit"},
}

// frequent are words in probe names that suggest millions of events. A pair with
// one of them is off unless asked for.
var frequent = map[string]bool{
	"alloc": true, "calloc": true, "cmethod": true, "free": true,
	"function": true, "futex": true, "lock": true, "lwlock": true,
	"malloc": true, "method": true, "mutex": true, "operator": true,
	"packet": true, "realloc": true, "rwlock": true, "spinlock": true,
	"syscall": true, "task": true,
}

// ByRule returns the pairs that the names of the probes suggest: probes of one
// provider whose names differ only in their endings, __start and __done, __begin
// and __end, __entry and __return, __enter and __exit, or _start or _begin and
// _end, _enter or _entry and _exit. The phase is named after what the names
// share, with __ written as "-", the way DTrace shows probes. Our own markers are
// not among them.
func ByRule(sites []Site) []PairSpec {
	ix := indexSites(sites)
	var pairs []PairSpec
	seen := map[probeKey]bool{}
	for i := range sites {
		s := &sites[i]
		key := probeKey{s.Provider, s.Name}
		if s.Provider == markerProvider || seen[key] {
			continue
		}
		seen[key] = true
		if p, ok := pairOf(s, ix); ok {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// pairOf returns the pair that a site's probe enters.
func pairOf(s *Site, ix siteIndex) (PairSpec, bool) {
	for _, r := range rules {
		stem, ok := strings.CutSuffix(s.Name, r.enter)
		exit := stem + r.exit
		if !ok || len(ix[probeKey{s.Provider, exit}]) == 0 {
			continue
		}
		p := newPair(OriginRule, s.Provider, s.Name, exit)
		p.Name = phaseName(s.Provider, s.Name)
		p.DefaultOn, p.Why = true, fmt.Sprintf("paired by name: %s and %s", r.enter, r.exit)
		if word := frequentWord(s.Name); word != "" {
			p.DefaultOn, p.Why = false, fmt.Sprintf("its name (%s) suggests very frequent events", word)
		}
		return p, true
	}
	return PairSpec{}, false
}

// frequentWord returns the word of a name that suggests frequent events, empty if
// there is none.
func frequentWord(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for _, w := range words {
		if frequent[w] || frequent[strings.TrimSuffix(w, "s")] {
			return w
		}
	}
	return ""
}

// phaseName returns the name of the phase that a probe enters: the probe's name
// without the ending that says "enter", with __ written as "-"; the provider if
// nothing is left.
func phaseName(provider, enter string) string {
	stem := enter
	for _, r := range rules {
		if s, ok := strings.CutSuffix(enter, r.enter); ok {
			stem = s
			break
		}
	}
	stem = strings.Trim(strings.ReplaceAll(strings.Trim(stem, "_"), "__", "-"), "-")
	if stem == "" {
		return provider
	}
	return stem
}
