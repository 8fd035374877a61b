// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// wantOrphans holds the orphans of a session and of its summary against what is
// wanted.
func wantOrphans(t *testing.T, tr *tracing, sum *stream.Summary, want ...stream.OrphanCount) {
	t.Helper()
	var total uint64
	for _, o := range want {
		total += o.Count
	}
	if diff := cmp.Diff(want, sum.OrphanReasons); diff != "" || sum.Orphans != total {
		t.Errorf("%d orphans in all, want %d; by reason (-want +got):\n%s", sum.Orphans, total, diff)
	}
	told := make(map[stream.OrphanReason]uint64)
	for _, o := range tr.orphans {
		told[o.Reason]++
	}
	for _, o := range want {
		if told[o.Reason] != o.Count {
			t.Errorf("told of %d orphans for %q, want %d", told[o.Reason], o.Reason, o.Count)
		}
	}
}

// The exit of a phase that a repair has closed comes on another thread: it is told
// as that on every thread, and the defect once.
func TestRepairedElsewhere(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "repaired.c"))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if sum.ViolationTotal != 3 || len(sum.Violations) != 1 || sum.Violations[0].First.Err.Kind != recorder.NotLIFO {
		t.Errorf("%d violations %+v, want one defect three times", sum.ViolationTotal, sum.Violations)
	}
	wantOrphans(t, tr, sum, stream.OrphanCount{Reason: stream.OrphanRepaired, Count: 3})
}

// A key that is used again while it is open: what is not known of its phases is
// not told as if it were, and the summary says what to do. Keys of other widths
// and signs meet.
func TestKeyUsedAgain(t *testing.T) {
	const rounds = 3
	p := fixture.Start(t, fixture.Build(t, "keys.c"), "3")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Pairs: mustPairs(t, "keys:start/done;name=key;key=arg0")})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	wantOrphans(t, tr, sum, stream.OrphanCount{Reason: stream.OrphanKeyReused, Count: rounds})
	got := make(map[uint64]map[stream.Reason]int)
	for i := range tr.boundaries {
		if b := &tr.boundaries[i]; b.Action == recorder.Exit {
			if got[b.Key] == nil {
				got[b.Key] = make(map[stream.Reason]int)
			}
			got[b.Key][b.Synthetic]++
		}
	}
	want := map[uint64]map[stream.Reason]int{
		7:                  {stream.ReasonKeyReused: 2 * rounds},
		0x4000000000000001: {stream.ReasonNone: rounds},
		1<<64 - 1:          {stream.ReasonNone: rounds},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ends by key (-want +got):\n%s", diff)
	}
	if sum.ViolationTotal != 0 || len(sum.Notes) != 1 || sum.Notes[0].Count != rounds || !strings.Contains(sum.Notes[0].What, "add another argument to the key") {
		t.Errorf("%d violations, notes %v; want none, and one that counts %d and says what to do", sum.ViolationTotal, sum.Notes, rounds)
	}
}
