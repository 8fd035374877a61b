// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// grouped is a session of four ranks, of which rank 2 is slow, by an attribute
// whose values are many and foreign.
func grouped(t *testing.T) *stream.Summary {
	t.Helper()
	path := pathMaker(t)
	of := func(count uint64, each time.Duration) stream.PathStats {
		return stream.PathStats{Count: count, Total: time.Duration(count) * each, Self: time.Duration(count) * each, P50: each, P99: each, Min: each, Max: each}
	}
	rank := func(n int32, timed uint64, each time.Duration) stream.RankStats {
		return stream.RankStats{Rank: n, Timed: timed, Total: time.Duration(timed) * each, Max: each}
	}
	step, backward := of(120, 4*time.Millisecond), of(120, 2700*time.Microsecond)
	step.Path, backward.Path = path("train", "step"), path("train", "step", "backward")
	step.Joined = 40
	step.Ranks = []stream.RankStats{rank(0, 30, 4*time.Millisecond), rank(1, 30, 4*time.Millisecond), rank(2, 30, 4100*time.Microsecond), rank(3, 0, 0)}
	backward.Ranks = []stream.RankStats{rank(0, 30, 1400*time.Microsecond), rank(1, 30, 1300*time.Microsecond), rank(2, 30, 6700*time.Microsecond), rank(3, 30, 1400*time.Microsecond)}
	once := of(1, time.Second)
	once.Path = path("checkpoint")
	once.Ranks = []stream.RankStats{rank(0, 1, time.Second)}
	open := of(2, 0)
	open.Synthetic = 2
	for i := range 23 {
		backward.Groups = append(backward.Groups, stream.GroupStats{Name: fmt.Sprintf("batch %d", i), Figures: of(4, time.Duration(23-i)*time.Millisecond)})
	}
	step.Groups = []stream.GroupStats{
		{Name: outputtest.Evil, Figures: of(70, 5*time.Millisecond)}, {Name: "", Figures: of(20, time.Millisecond)},
		{Kind: stream.GroupNone, Figures: of(10, time.Millisecond)}, {Kind: stream.GroupOther, Figures: open},
	}
	return &stream.Summary{
		SessionID: "s1", Elapsed: time.Minute, EndReason: "duration", Boundaries: 482, Received: 480, LeftOut: 400,
		Paths: []stream.PathStats{step, backward, once}, Grouped: stream.Grouped{By: "attr.batch", Groups: 4096, Other: 2, Cut: 3},
	}
}

func TestGroupsGolden(t *testing.T) {
	for file, o := range map[string]Options{"testdata/groups.txt": {}, "testdata/groups80.txt": {Width: 80}} {
		got := Append(nil, grouped(t), o)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s differs (-want +got); if it should, run with -update:\n%s", file, diff)
		}
	}
}
