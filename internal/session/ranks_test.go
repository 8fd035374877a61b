// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// pathNamed returns the figures of a path, nil if there are none.
func pathNamed(sum *stream.Summary, name string) *stream.PathStats {
	i := slices.IndexFunc(sum.Paths, func(s stream.PathStats) bool { return s.Path.String() == name })
	if i < 0 {
		return nil
	}
	return &sum.Paths[i]
}

// Of four ranks that a launcher has started, the slow one stands out, although
// phasetrace comes when each is in the middle of an epoch; recorded or counted in
// the kernel. Steps of that epoch are with those of the next.
func TestRanksAfterLateAttach(t *testing.T) {
	const ranks, slow, half = 4, 2, 10
	for _, count := range []bool{false, true} {
		t.Run(fmt.Sprintf("count=%v", count), func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "ranks.c"), fmt.Sprint(ranks), fmt.Sprint(slow))
			p.Expect("ready")
			by, err := figures.By("rank")
			if err != nil {
				t.Fatal(err)
			}
			tr := attach(t, []int{p.Pid()}, Config{Follow: true, Count: count, By: by})
			p.WriteLine("go")
			p.Expect("done")
			p.WaitOK()
			sum := tr.wait()
			if sum.Orphans != ranks {
				t.Errorf("%d orphans, want the exit of each rank's first epoch", sum.Orphans)
			}
			for _, early := range []string{"step", "step / backward"} {
				if st := pathNamed(sum, early); st != nil {
					t.Errorf("%q is a tree of its own: %d", early, st.Count)
				}
			}
			for _, name := range []string{"train / step", "train / step / backward"} {
				st := pathNamed(sum, name)
				if st == nil {
					t.Fatalf("no %q in %v", name, sum.Paths)
				}
				if st.Count != 3*half*ranks || st.Joined != half*ranks {
					t.Errorf("%q: %d, %d of them joined; want %d and %d", name, st.Count, st.Joined, 3*half*ranks, half*ranks)
				}
				checkRanks(t, st, ranks, slow, 3*half)
			}
		})
	}
}

// checkRanks requires figures by rank, grouped or not, of which one is the slowest.
func checkRanks(t *testing.T, st *stream.PathStats, ranks int, slow int32, each uint64) {
	t.Helper()
	if len(st.Ranks) != ranks || len(st.Groups) != ranks {
		t.Fatalf("%q: %d ranks, %d groups; want %d", st.Path, len(st.Ranks), len(st.Groups), ranks)
	}
	slowest := st.Ranks[0]
	for _, r := range st.Ranks {
		if r.Timed != each {
			t.Errorf("%q: %d on rank %d, want %d", st.Path, r.Timed, r.Rank, each)
		}
		if r.Mean() > slowest.Mean() {
			slowest = r
		}
	}
	if slowest.Rank != slow || st.Groups[0].Name != fmt.Sprint(slow) || st.Groups[0].Figures.Count != each {
		t.Errorf("%q: slowest is %+v, first group %+v; want rank %d", st.Path, slowest, st.Groups[0], slow)
	}
}
