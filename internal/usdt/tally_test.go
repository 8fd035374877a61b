// SPDX-License-Identifier: Apache-2.0

package usdt

import "testing"

func TestTally(t *testing.T) {
	sites := names("app:step__start", "app:step__done", "app:lock__start", "app:lock__done",
		"postgresql:query__start", "postgresql:query__done", "postgresql:sort__start", "postgresql:query__plan__start")
	asked, err := ParsePair("app:step__start/step__done")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		sites []Site
		flags []PairSpec
		want  Tally
	}{
		"nothing":       {nil, nil, Tally{}},
		"rules":         {sites[:4], nil, Tally{Chosen: 1, Off: 1}},
		"no exit":       {sites, nil, Tally{Chosen: 1, Off: 2}}, // sort and plan lack an end
		"asked for":     {sites, []PairSpec{asked}, Tally{Chosen: 1}},
		"asked, absent": {sites[2:], []PairSpec{asked}, Tally{}},
	} {
		if got := TallyOf(Choose(test.sites, test.flags)); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
