// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNear(t *testing.T) {
	names := []string{"query__start", "query__done", "query__plan__start", "lock__wait__start", "lwlock__wait__start", "ab"}
	for meant, want := range map[string][]string{
		"query-start":      {"query__start"},
		"QUERY_DONE":       {"query__done"},
		"query__strat":     {"query__start"}, // two letters exchanged
		"qury__dne":        {"query__done"},
		"lock__wait__stat": {"lock__wait__start", "lwlock__wait__start"},
		"plan":             {"query__plan__start"},
		"unlike":           nil,
		"xy":               nil, // as short as that, every name is near
		"query__done":      nil, // it is there
	} {
		if diff := cmp.Diff(want, near(meant, names)); diff != "" {
			t.Errorf("%s: %s", meant, diff)
		}
	}
	if d := distance("start", "strat", 3); d != 1 {
		t.Errorf("start, strat: %d slips, want 1", d)
	}
}

// A name stands for every pair that has it, whoever knows the pair.
func TestNamed(t *testing.T) {
	sites := names("postgresql:query__start", "postgresql:query__done", "postgresql:sort__start", "postgresql:sort__done",
		"app:step__start", "app:step__done",
		"postgresql:buffer__read__start", "postgresql:transaction__start", "postgresql:transaction__commit")
	for text, test := range map[string]struct {
		only, also []string
		want       []string // those that are traced, and what is said of the names that stand for none
	}{
		"also":                                  {nil, []string{"sort"}, []string{"postgresql:sort__start", "postgresql:query__start", "postgresql:transaction__start"}},
		"only":                                  {[]string{"sort"}, nil, []string{"postgresql:sort__start"}},
		"only and also":                         {[]string{"step"}, []string{"query"}, []string{"app:step__start", "postgresql:query__start"}},
		"in place of a pair of the same probes": {nil, []string{"autovacuum"}, []string{"postgresql:transaction__start by statement__status", "postgresql:query__start"}},
		"the other of the two":                  {[]string{"transaction"}, nil, []string{"postgresql:transaction__start"}},
		"twice":                                 {[]string{"step", "step"}, nil, []string{"app:step__start"}},
		"one end":                               {[]string{"read buffer"}, nil, []string{`"read buffer" no exit: no probe postgresql:buffer__read__done in these files`}},
		"another program":                       {[]string{"checkpoint"}, nil, []string{`"checkpoint" no pair of that name in these files`}},
		"mistyped":                              {[]string{"setp"}, nil, []string{`"setp" no pair of that name in these files; did you mean "step"?`}},
		"of the catalogue, mistyped": {[]string{"wait for lok"}, nil, []string{
			`"wait for lok" no pair of that name in these files; did you mean "wait for lock"?`}},
	} {
		var flags []PairSpec
		for added, list := range [][]string{test.only, test.also} {
			for _, name := range list {
				p, err := Named(name, added == 1)
				if err != nil {
					t.Fatal(err)
				}
				flags = append(flags, p)
			}
		}
		var got []string
		for _, c := range Choose(sites, flags) {
			switch {
			case c.Chosen:
				text := c.Pair.Provider + ":" + c.Pair.Enter
				for _, probe := range c.Pair.NoteProbes() {
					text += " by " + probe
				}
				got = append(got, text)
			case c.Pair.Named:
				got = append(got, fmt.Sprintf("%s %s", c.Pair, c.Why))
			}
			if c.Chosen && c.Asked == "" && strings.HasPrefix(text, "only") {
				t.Errorf("%s: %s is traced and was not asked for", text, c.Pair)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	if _, err := Named(" ", false); err == nil {
		t.Error("an empty name")
	}
}

// Keys that were guessed are shown, to be looked at.
func TestByName(t *testing.T) {
	for text, want := range map[string]bool{"p:a/b": true, "p:a/b;name=arg0:str": false, "p:a/b;key=arg0": true} {
		p, err := ParsePair(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.ByName(); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
		if p.Origin = OriginRule; p.Keyed() && p.ByName() {
			t.Errorf("%s, by a rule: by its name", text)
		}
	}
}

// A pair that is asked for in full goes before the same one by its name.
func TestNamedAndInFull(t *testing.T) {
	sites := names("app:step__start", "app:step__done")
	full, err := ParsePair("app:step__start/step__done;name=mine")
	if err != nil {
		t.Fatal(err)
	}
	named, err := Named("step", false)
	if err != nil {
		t.Fatal(err)
	}
	cs := Choose(sites, []PairSpec{named, full})
	if len(cs) != 1 || cs[0].Pair.Name != "mine" {
		t.Errorf("%+v", cs)
	}
}
