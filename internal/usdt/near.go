// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"cmp"
	"slices"
	"strings"
)

const (
	// maxNear bounds the names that a message offers in place of one that is wrong.
	maxNear = 3
	// maxCompared bounds the names that one is compared with: files are hostile.
	maxCompared = 4096
)

// near returns the names that somebody may have meant by one that is not among them,
// the likeliest first: those with the same letters and digits, else those that a few
// slips of the finger lead to, else those that have it as a part.
func near(meant string, names []string) []string {
	type guess struct {
		name string
		far  int
	}
	var found []guess
	want := plain(meant)
	slips := len(want) / 3 // a slip in three letters
	if slips == 0 && len(want) > 2 {
		slips = 1
	}
	for _, name := range names[:min(len(names), maxCompared)] {
		if name == meant || slices.ContainsFunc(found, func(g guess) bool { return g.name == name }) {
			continue
		}
		p := plain(name)
		switch far := distance(want, p, slips); {
		case far <= slips:
			found = append(found, guess{name, far})
		case len(want) > 2 && strings.Contains(p, want):
			found = append(found, guess{name, slips + 1 + len(p) - len(want)})
		}
	}
	slices.SortStableFunc(found, func(a, b guess) int { return cmp.Compare(a.far, b.far) })
	var out []string
	for _, g := range found[:min(len(found), maxNear)] {
		if found[0].far == 0 && g.far > 0 {
			break
		}
		out = append(out, g.name)
	}
	return out
}

// plain is a name without what people get wrong most: case and punctuation. Tools
// write query-start, files have query__start.
func plain(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

// distance is how many letters have to be put in, taken out, changed or exchanged
// with the next one to make b of a; above limit, any number above it.
func distance(a, b string, limit int) int {
	if max(len(a), len(b))-min(len(a), len(b)) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
