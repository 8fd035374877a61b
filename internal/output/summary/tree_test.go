// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// pathMaker returns what makes paths from names, outermost first: the same path of
// the same names.
func pathMaker(t *testing.T) func(names ...string) *recorder.Path {
	t.Helper()
	paths := recorder.NewPaths(recorder.Limits{})
	return func(names ...string) (p *recorder.Path) {
		t.Helper()
		for _, name := range names {
			var err error
			if p, _, err = paths.Child(p, name); err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
}

// paths makes the interned paths of "a/b/c" texts.
func paths(t *testing.T, texts ...string) []*recorder.Path {
	t.Helper()
	r := recorder.New(recorder.Limits{})
	key := recorder.Key{SessionID: "s", ThreadID: 1}
	var all []*recorder.Path
	for _, text := range texts {
		var open []recorder.Token
		for _, name := range strings.Split(text, "/") {
			token, b, err := r.Enter(key, "t", name, nil)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, token)
			if len(open) == strings.Count(text, "/")+1 {
				all = append(all, b.Path)
			}
		}
		for i := len(open) - 1; i >= 0; i-- {
			if _, err := r.Exit(open[i], 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// outline writes a tree as "name(inner inner)".
func outline(nodes []*node) string {
	var parts []string
	for _, n := range nodes {
		text := n.path.Name()
		if n.stats == nil {
			text += "?"
		}
		if len(n.inner) > 0 {
			text += "(" + outline(n.inner) + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

func TestTree(t *testing.T) {
	all := paths(t, "a", "a/b", "a/c", "d", "e/f/g")
	stats := make([]stream.PathStats, len(all))
	for i, total := range []time.Duration{10, 3, 7, 20, 1} {
		stats[i] = stream.PathStats{Path: all[i], Count: 1, Total: total}
	}
	for _, test := range []struct {
		most, left int
		want       string
	}{
		{10, 0, "d a(c b) e?(f?(g))"},
		{5, 0, "d a(c b) e?(f?(g))"},
		{3, 2, "d a(c)"},
		{1, 4, "d"},
	} {
		roots, left := tree(stats, test.most)
		if got := outline(roots); got != test.want || left != test.left {
			t.Errorf("the %d largest: %s and %d left, want %s and %d", test.most, got, left, test.want, test.left)
		}
	}
	// An inner phase whose enclosing one has a smaller total brings it along.
	stats[0].Total = 0
	roots, left := tree(stats, 2)
	if got := outline(roots); got != "d a(c)" || left != 2 {
		t.Errorf("%s and %d left", got, left)
	}
}

func TestNothingSeen(t *testing.T) {
	got := string(Append(nil, &stream.Summary{SessionID: "s", GPUStatus: "no_library"}, Options{}))
	for _, want := range []string{"no phase was seen", "no GPU memory: the NVML library was not found", "0 violations, 0 orphan exits, 0 lost records"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	grouped := string(Append(nil, &stream.Summary{Grouped: stream.Grouped{By: "rank"}}, Options{}))
	if strings.Contains(grouped, "tells") {
		t.Errorf("phases that were not seen tell no rank, which is no news:\n%s", grouped)
	}
	off := string(Append(nil, &stream.Summary{GPUStatus: "off"}, Options{}))
	if !strings.Contains(off, "\nno GPU memory: reading it is switched off\n") {
		t.Errorf("no sentence in\n%s", off)
	}
	if strings.Contains(got, "!!") {
		t.Errorf("an empty session is shown as bad:\n%s", got)
	}
}

// TestColumnsAlign: every row of the table is as wide as its head, wide
// characters or not.
func TestColumnsAlign(t *testing.T) {
	all := paths(t, "東京", "e\u0301\u0301", "🚀/"+strings.Repeat("x", 100), "\x1b[1m")
	s := stream.Summary{}
	for i, p := range all {
		s.Paths = append(s.Paths, stream.PathStats{Path: p, Count: uint64(i) * 12345, Total: time.Duration(i) * time.Hour})
	}
	text := string(Append(nil, &s, Options{}))
	rows := strings.Split(strings.Split(text, "\n\n")[1], "\n")[:6]
	for _, row := range rows {
		if human.Width(row) != human.Width(rows[0]) {
			t.Errorf("rows of %d and %d columns:\n%s\n%s", human.Width(rows[0]), human.Width(row), rows[0], row)
		}
	}
}
