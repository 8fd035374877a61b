// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// traceConventions traces conventions.c with no --pair.
func traceConventions(t *testing.T, rounds int, cfg Config) (*stream.Summary, []stream.Boundary) {
	t.Helper()
	p := fixture.Start(t, fixture.Build(t, "conventions.c"), fmt.Sprint(rounds))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, cfg)
	p.WriteLine("go")
	p.Expect(fmt.Sprint("done ", rounds))
	p.WaitOK()
	sum := tr.wait()
	if sum.ViolationTotal+sum.Orphans+sum.Lost != 0 || len(sum.ZeroSites) != 0 || len(sum.Notes) != 0 {
		t.Errorf("violations %v, %d orphans, %d lost, never hit %v, notes %v; want none",
			sum.Violations, sum.Orphans, sum.Lost, sum.ZeroSites, sum.Notes)
	}
	return sum, tr.boundaries
}

// What naming rules find is traced without being asked for: each phase of the program
// is one, with its integer arguments, told apart from those of other providers.
func TestRulePairs(t *testing.T) {
	const rounds = 6
	_, bs := traceConventions(t, rounds, Config{})
	for path, n := range map[string]int{
		"Job": rounds, "Job / load": rounds, "Job / save": rounds, "Job / app:flush": rounds,
		"Job / db:flush": rounds, "Job / gc": rounds, "fetch": rounds,
	} {
		if got := properScopes(bs, path); got != n {
			t.Errorf("%d phases %s, want %d", got, path, n)
		}
	}
	want := map[string]map[string]any{
		"Job":             {"arg0": 5.0},
		"Job / load":      {"arg0": -5.0},
		"Job / save":      {"arg0": "0x5", "arg1": 5.0},
		"Job / app:flush": {"arg0": 5.0},
		"fetch":           {"arg0": "0x5"},
	}
	for path, attrs := range want {
		all := attributesOf(t, bs, path)
		if len(all) == 0 {
			t.Errorf("no phase %s", path)
		} else if diff := cmp.Diff(attrs, all[len(all)-1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestRulePairsWithoutArguments(t *testing.T) {
	_, bs := traceConventions(t, 4, Config{NoArguments: true})
	if n := properScopes(bs, "Job / save"); n != 4 {
		t.Errorf("%d phases, want 4", n)
	}
	for i := range bs {
		if b := &bs[i]; b.Action == recorder.Enter && len(b.Attributes) > 0 {
			t.Errorf("%s has attributes %s", b.Path, b.Attributes)
		}
	}
}

// A pair of a rule stays the same one when a file that comes later changes its name.
func TestRulePairsKeepTheirIdentity(t *testing.T) {
	k := &core{out: waiting{sink: &collector{}, figures: figures.New()}}
	pl := newPlan(&Config{}, k, recording{k}, &warnings{})
	probes := func(list ...[2]string) (sites []usdt.Site) {
		for _, p := range list {
			sites = append(sites, usdt.Site{Provider: p[0], Name: p[1]})
		}
		return sites
	}
	first := probes([2]string{"a", "x__start"}, [2]string{"a", "x__done"})
	later := append(first, probes([2]string{"b", "x__start"}, [2]string{"b", "x__done"}, [2]string{"a", "x__abort"})...)
	before, after := usdt.ByRule(first), usdt.ByRule(later)
	if len(before) != 1 || len(after) != 2 || before[0].String() == after[0].String() {
		t.Fatalf("%v, then %v: want another name", before, after)
	}
	one, err := pl.pair(before[0])
	if err != nil {
		t.Fatal(err)
	}
	if again, err := pl.pair(after[0]); err != nil || again != one {
		t.Errorf("%v, error %v; want the pair that is there", again, err)
	}
	if other, err := pl.pair(after[1]); err != nil || other == one || string(other.Name) != "b:x" {
		t.Errorf("%v, error %v; want another pair, b:x", other, err)
	}
}
