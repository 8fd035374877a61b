// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

func named(id, parent uint32, name string, entered uint64) loader.AggregatePath {
	return loader.AggregatePath{ID: id, Parent: parent, Name: name, AggregateFigures: loader.AggregateFigures{Entered: entered}}
}

func literal(id, parent uint32, l loader.Literal, entered uint64) loader.AggregatePath {
	p := named(id, parent, "", entered)
	p.Literal = l
	return p
}

// Paths of equal names are one, whatever process and pair they are of.
func TestMergeCounted(t *testing.T) {
	process := func(id uint32) loader.AggregatePath {
		return loader.AggregatePath{ID: id, Process: &loader.AggregateProcess{PID: int(id)}}
	}
	other := named(4096+3, 3, "", 9)
	other.Overflow = true
	a := &loader.Aggregate{Paths: []loader.AggregatePath{
		process(1),
		named(2, 1, "train", 1),
		named(3, 2, "step", 5),
		process(4),
		named(5, 4, " train\n", 2), // names are trimmed
		literal(6, 5, loader.LiteralOf(0), 3),
		literal(7, 5, loader.LiteralNull, 4),
		literal(8, 1, loader.LiteralUnreadable, 6),
		named(9, 1, " \x1c", 7),
		literal(10, 1, loader.LiteralEmpty, 8),
		named(11, 1, "never entered", 0),
		named(12, 3, recorder.OtherName, 1), // what the program calls so is no overflow
		other,
	}}
	s := &session{}
	s.choice.pairs = []*pair{{name: []byte("step")}}
	c := newCounting(s)
	c.processes = map[uint32]*stream.Process{1: {PID: 101}, 4: {PID: 104}}
	all, processes := c.merge(a)
	counts := func(stats []stream.PathStats) map[string]uint64 {
		out := make(map[string]uint64)
		for _, p := range stats {
			name := p.Path.String()
			if p.Path.Overflow() {
				name += " overflow"
			}
			out[name] = p.Count
		}
		return out
	}
	want := map[string]uint64{
		"train": 3, "train / step": 8, "train / (null)": 4, "(unreadable)": 6, "(empty)": 15, "train / step / (other)": 1,
		"train / step / (other) overflow": 9,
	}
	if diff := cmp.Diff(want, counts(all)); diff != "" {
		t.Errorf("all processes (-want +got):\n%s", diff)
	}
	if len(processes) != 2 || processes[0].Process.PID != 101 || processes[1].Process.PID != 104 {
		t.Fatalf("processes %+v, want 101 and 104", processes)
	}
	want = map[string]uint64{"train": 2, "train / step": 3, "train / (null)": 4}
	if diff := cmp.Diff(want, counts(processes[1].Paths)); diff != "" {
		t.Errorf("second process (-want +got):\n%s", diff)
	}
	if again, _ := c.merge(a); again[0].Path != all[0].Path {
		t.Error("a second reading gives paths other than the first")
	}
}

// What is counted by bucket gives the quantiles that recording gives, and both
// are within half a bucket of the exact ones.
func TestCountedQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	durations := make([]uint64, 10000)
	var hist histogram
	blocks := maxBlocks
	f := loader.AggregateFigures{Min: math.MaxUint64}
	for i := range durations {
		d := uint64(math.Exp(rng.Float64() * 25))
		durations[i] = d
		hist.add(d, &blocks)
		o, p := bucketOf(d)
		if f.Octaves[o] == nil {
			f.Octaves[o] = new([loader.AggregateSub]uint64)
		}
		f.Octaves[o][p]++
		f.Entered, f.Ended, f.Total = f.Entered+1, f.Ended+1, f.Total+d
		f.Min, f.Max = min(f.Min, d), max(f.Max, d)
	}
	slices.Sort(durations)
	path := newPathTree().child(nil, "a")
	got := countedStats(path, &f)
	recorded := pathFigures{path: path, count: f.Entered, total: int64(f.Total), self: int64(f.Total), hist: hist, min: int64(f.Min), max: int64(f.Max)}
	if diff := cmp.Diff(recorded.export(), got, cmp.Comparer(func(a, b *recorder.Path) bool { return a == b })); diff != "" {
		t.Errorf("counted (-recorded +counted):\n%s", diff)
	}
	for _, q := range []struct {
		share float64
		got   int64
	}{{0.5, int64(got.P50)}, {0.99, int64(got.P99)}} {
		want := float64(durations[int(q.share*float64(len(durations)))])
		if off := math.Abs(float64(q.got)-want) / want; off > 1.0/64+1e-9 {
			t.Errorf("quantile %v is %d, want %.0f within 1.6 %%", q.share, q.got, want)
		}
	}
}

// An unfinished phase has no durations, and its place in the tree is kept.
func TestCountedStatsOfOpen(t *testing.T) {
	got := countedStats(newPathTree().child(nil, "a"), &loader.AggregateFigures{Entered: 2, Min: math.MaxUint64})
	if got.Count != 2 || got.Synthetic != 2 || got.Min != 0 || got.Max != 0 || got.P50 != 0 {
		t.Errorf("figures %+v, want two synthetic and no durations", got)
	}
}
