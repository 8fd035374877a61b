// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Named returns what stands for every pair with a name, as [Choose] finds them: those
// of the catalogue, and those that naming rules find. added is PairSpec.Added.
func Named(name string, added bool) (PairSpec, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return PairSpec{}, errors.New("want the name of a pair")
	}
	if len(name) > maxProbeName {
		return PairSpec{}, fmt.Errorf("name %q: longer than %d bytes", shorten(name), maxProbeName)
	}
	p := newPair(OriginFlag, "", "")
	p.Name, p.Named, p.Added = name, true, added
	return p, nil
}

// chooseNamed returns the pairs that a name stands for. If there are none, it returns
// the name, and why.
func chooseNamed(asked PairSpec, could []Choice, sites []Site) []Choice {
	var out []Choice
	why := ""
	for _, c := range could {
		switch {
		case !isCalled(&c.Pair, asked.Name):
		case !c.whole():
			why = c.Why
		default:
			c.Chosen, c.Why, c.Asked = true, "asked for", asked.String()
			c.warn(sites)
			out = append(out, c)
		}
	}
	if len(out) > 0 {
		return out
	}
	if why == "" {
		if why = "no pair of that name in these files"; !InCatalogue(asked.Name) {
			why += didYouMean(nearNames(asked.Name, could))
		}
	}
	return []Choice{{Pair: asked, Why: why, Asked: asked.String()}}
}

// ByName reports whether a pair is to be asked for by its name. One with a key that a
// naming rule has guessed is not: somebody has to look at the key, and perhaps give
// another.
func (p *PairSpec) ByName() bool {
	return p.NameArg == nil && p.Name != "" && (p.Origin != OriginRule || !p.Keyed())
}

// AskedAs is the name to ask for the pair by, see ByName.
func (p *PairSpec) AskedAs() string {
	if p.Called != "" {
		return p.Called
	}
	return p.Name
}

func isCalled(p *PairSpec, name string) bool { return p.NameArg == nil && p.AskedAs() == name }

// InCatalogue reports whether a pair of a well-known program has a name.
func InCatalogue(name string) bool {
	return slices.ContainsFunc(catalogue(), func(p PairSpec) bool { return isCalled(&p, name) })
}

// NearNames returns the names of pairs that somebody may have meant by one that no
// pair has: of those that the sites could form, else of those of the catalogue.
func NearNames(name string, sites []Site) []string {
	return nearNames(name, possible(sites, indexSites(sites)))
}

func nearNames(name string, could []Choice) []string {
	var names []string
	for i := range could {
		if p := &could[i].Pair; p.NameArg == nil && could[i].whole() {
			names = append(names, p.AskedAs())
		}
	}
	if found := near(name, names); len(found) > 0 {
		return found
	}
	names = names[:0]
	for _, p := range catalogue() {
		if p.NameArg == nil {
			names = append(names, p.AskedAs())
		}
	}
	return near(name, names)
}

// didYouMean asks, behind a reason.
func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return "; did you mean " + strings.Join(quoted, " or ") + "?"
}
