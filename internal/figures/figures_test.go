// SPDX-License-Identifier: Apache-2.0

package figures_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A duration that is not known is counted by itself, and is in no other figure;
// neither are the changes of memory since its enter. The same holds after a merge.
func TestUnknownDurations(t *testing.T) {
	known, unknown := figures.New(), figures.New()
	r := recorder.New(recorder.Limits{})
	scope := func(f *figures.Figures, duration int64, doubt stream.Doubt, why stream.Reason) {
		token, enter, err := r.Enter(recorder.Key{SessionID: "s", ThreadID: 1}, "t", "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		exit, err := r.Exit(token, 1)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Record(&stream.Boundary{Boundary: enter})
		_ = f.Record(&stream.Boundary{Boundary: exit, Duration: duration, Self: duration, Doubt: doubt, Synthetic: why,
			Resident: stream.Resident{Known: true, Bytes: uint64(duration), Change: duration, ChangeKnown: true},
			GPU:      []gpu.Reading{{Change: gpu.Delta{N: duration, Known: true}}}})
	}
	scope(unknown, 1, stream.DoubtOverlapping, stream.ReasonNone)
	scope(unknown, 1000, stream.DoubtKeyReused, stream.ReasonKeyReused)
	scope(known, 20, stream.DoubtNone, stream.ReasonNone)
	scope(known, 40, stream.DoubtNone, stream.ReasonNone)
	scope(known, 5000, stream.DoubtOverlapping, stream.ReasonNone)

	want := stream.PathStats{Count: 2, Synthetic: 1, Unknown: 1}
	check(t, "of unknown ones alone", unknown, want)
	unknown.Merge(known)
	want = stream.PathStats{
		Count: 5, Synthetic: 1, Unknown: 2, Total: 60, Self: 60, P50: 20, P99: 40, Min: 20, Max: 40,
		ResidentChange: 60, ResidentPeak: 40, GPU: []stream.PathGPU{{Change: gpu.Delta{N: 60, Known: true}, Changes: 2, Certain: 2}},
	}
	check(t, "merged", unknown, want)
	if p := unknown.Paths()[0]; p.Timed() != 2 {
		t.Errorf("durations of %d scopes, want 2", p.Timed())
	}
}

func check(t *testing.T, what string, f *figures.Figures, want stream.PathStats) {
	t.Helper()
	near := cmp.Comparer(func(a, b time.Duration) bool { return a-b <= 1 && b-a <= 1 }) // quantiles are within 1.6 %
	if diff := cmp.Diff([]stream.PathStats{want}, f.Paths(), near, cmpopts.IgnoreFields(stream.PathStats{}, "Path")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
