// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// pathOf returns an interned path of these names.
func pathOf(tb testing.TB, names ...string) *recorder.Path {
	tb.Helper()
	r := recorder.New(recorder.Limits{})
	var path *recorder.Path
	for _, name := range names {
		_, b, err := r.Enter(recorder.Key{}, "", name, nil)
		if err != nil {
			tb.Fatal(err)
		}
		path = b.Path
	}
	return path
}

// What is counted by bucket gives the figures that recording gives, and the
// quantiles of both are within half a bucket of the exact ones.
func TestCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	path := pathOf(t, "a")
	recorded, counted, merged := New(), New(), New()
	c := Counted{Min: math.MaxUint64}
	durations := make([]uint64, 10000)
	for i := range durations {
		d := uint64(math.Exp(rng.Float64() * 25))
		durations[i] = d
		_ = recorded.Record(&stream.Boundary{Boundary: recorder.Boundary{Action: recorder.Enter, Path: path}})
		_ = recorded.Record(&stream.Boundary{Boundary: recorder.Boundary{Action: recorder.Exit, Path: path}, Duration: int64(d), Self: int64(d)})
		o, p := bucketOf(d)
		if c.Octaves[o] == nil {
			c.Octaves[o] = new([Buckets]uint64)
		}
		c.Octaves[o][p]++
		c.Entered, c.Ended, c.Total = c.Entered+1, c.Ended+1, c.Total+d
		c.Min, c.Max = min(c.Min, d), max(c.Max, d)
	}
	counted.AddCounted(path, &c, nil)
	merged.Merge(recorded)
	same := cmp.Comparer(func(a, b *recorder.Path) bool { return a == b })
	if diff := cmp.Diff(recorded.Paths(), counted.Paths(), same); diff != "" {
		t.Errorf("counted (-recorded +counted):\n%s", diff)
	}
	if diff := cmp.Diff(recorded.Paths(), merged.Paths(), same); diff != "" {
		t.Errorf("merged (-recorded +merged):\n%s", diff)
	}
	slices.Sort(durations)
	got := counted.Paths()[0]
	for _, q := range []struct {
		share float64
		got   int64
	}{{0.5, int64(got.P50)}, {0.99, int64(got.P99)}} {
		want := float64(durations[int(math.Ceil(q.share*float64(len(durations))))-1])
		if off := math.Abs(float64(q.got)-want) / want; off > 1.0/64+1e-9 {
			t.Errorf("quantile %v is %d, want %.0f within 1.6 %%", q.share, q.got, want)
		}
	}
}

// Unfinished phases have no durations, and their place is kept; those that end
// and are added later are not mixed up with them.
func TestCountedOpen(t *testing.T) {
	path := pathOf(t, "a")
	f := New()
	f.AddCounted(path, &Counted{Entered: 2, Min: math.MaxUint64}, nil)
	if got := f.Paths()[0]; got.Count != 2 || got.Synthetic != 2 || got.Min != 0 || got.Max != 0 || got.P50 != 0 {
		t.Errorf("figures %+v, want two synthetic and no durations", got)
	}
	f.AddCounted(path, &Counted{Entered: 1, Ended: 1, Total: 40, Inner: 15, Min: 40, Max: 40}, nil)
	if got := f.Paths()[0]; got.Count != 3 || got.Synthetic != 2 || got.Min != 40 || got.Max != 40 || got.Self != 25 {
		t.Errorf("figures %+v, want two synthetic and one of 40 ns", got)
	}
}
