// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"math"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// How long a pair was not traced follows from the changes, and each path of its phases
// has it: also those that another pair's phases surround, and none of other pairs.
func TestLeftOut(t *testing.T) {
	f := New()
	rec := recorder.New(recorder.Limits{})
	key := recorder.Key{SessionID: "s", ThreadID: 1}
	enter := func(name, provider, probe string) {
		_, b, err := rec.Enter(key, "t", name, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Record(&stream.Boundary{Boundary: b, Time: 1, Marker: &stream.Marker{Provider: provider, Probe: probe}})
	}
	enter("query", "db", "query__start")
	enter("parse", "db", "parse__start")
	enter("own", "phasetrace", "enter")
	change := func(time int64, provider, enter string, part float64, good bool) {
		_ = f.Record(&stream.PairChange{Time: time, Provider: provider, Enter: enter, Part: part, ForGood: good, Budget: 0.02})
	}
	change(1000+200, "db", "parse__start", 0, false)      // 100 until it
	change(1000+300, "db", "parse__start", 1, false)      // comes back
	change(1000+500, "db", "parse__start", 0, true)       // 500 until the end
	change(1000+600, "phasetrace", "enter", 0.25, false)  // 200 of it not traced: 150
	change(1000+800, "phasetrace", "enter", 0.125, false) // 200: 175
	sum := stream.Summary{Time: 2000, Elapsed: 1000 * time.Nanosecond}
	f.Snapshot(&sum)
	want := map[string]float64{"query": 0, "query / parse": 0.6, "query / parse / own": 0.325}
	if len(sum.Paths) != len(want) {
		t.Fatalf("%d paths, want %d", len(sum.Paths), len(want))
	}
	for _, p := range sum.Paths {
		if w := want[p.Path.String()]; math.Abs(p.LeftOut-w) > 1e-9 {
			t.Errorf("%s was left out for %v, want %v", p.Path, p.LeftOut, w)
		}
	}
	if len(sum.Parts) != 2 {
		t.Fatalf("%+v: want two pairs", sum.Parts)
	}
	if p := sum.Parts[0]; p.Enter != "parse__start" || p.Cuts != 2 || !p.ForGood || p.Part != 0 || math.Abs(p.LeftOut-0.6) > 1e-9 {
		t.Errorf("%+v", p)
	}
	if p := sum.Parts[1]; p.Enter != "enter" || p.Cuts != 2 || p.ForGood || p.Part != 0.125 || math.Abs(p.LeftOut-0.325) > 1e-9 {
		t.Errorf("%+v", p)
	}
	none := stream.Summary{Time: 2000, Elapsed: 1000}
	if New().Snapshot(&none); none.Parts != nil {
		t.Errorf("%+v of pairs that were always traced", none.Parts)
	}
}
