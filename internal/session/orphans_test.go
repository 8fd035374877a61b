// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
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

// A pair of which no enter could be attached blames nobody for its exits; another
// pair does, and the same one once an enter is attached.
func TestEntersNotAttached(t *testing.T) {
	c := &collector{}
	k := &core{out: waiting{sink: c, figures: figures.New(), clock: clock.NewUnix(nil)}}
	k.engine = engine.New(engine.Config{SessionID: "s", PageSize: 4096}, &k.out)
	pl := newPlan(&Config{}, k, recording{k}, &warnings{})
	add := func(p *pair, effect probe.Effect) *site {
		s := newSite(p, effect)
		s.attached = effect == probe.Exit
		pl.register(s)
		return s
	}
	one := newPair(usdt.PairSpec{Provider: "p", Enter: "a", Exits: []string{"b"}, KeyArg: usdt.NoArg, Reentrant: true}, 0)
	two := newPair(usdt.PairSpec{Provider: "q", Enter: "a", Exits: []string{"b"}, KeyArg: usdt.NoArg, Reentrant: true}, 0)
	enter, exit := add(one, probe.Enter), add(one, probe.Exit)
	other := add(two, probe.Exit)
	tell := func() { k.enters(pl.enters([]probe.Site{{ID: enter.id}, {ID: exit.id}, {ID: other.id}})) }
	exits := int32(0)
	hit := func(s *site) {
		k.begin()
		k.handle(&event.Marker{Head: event.Head{Time: int64(exits), PID: 5, TID: 5}, Site: s.id, Effect: probe.Exit,
			Seq: uint64(exits), Depth: -exits - 1, Low: -exits})
		if _, err := k.done(0, 0); err != nil {
			t.Fatal(err)
		}
		exits++
	}
	k.engine.AddProcess(stream.Process{PID: 5, HostPID: 5})
	k.begin()
	k.handle(&event.Thread{Head: event.Head{PID: 5, TID: 5}, Who: event.Identity{StartTime: 1, ViewPID: 5, ViewTID: 5}})
	if _, err := k.done(0, 0); err != nil {
		t.Fatal(err)
	}
	tell()
	hit(exit)
	hit(other)
	if len(c.orphans) != 1 || c.orphans[0].Reason != stream.OrphanEnterNotAttached || len(c.violations) != 1 {
		t.Errorf("orphans %+v, %d violations; want one of each", c.orphans, len(c.violations))
	}
	enter.attached = true
	tell()
	hit(exit)
	if len(c.orphans) != 1 || len(c.violations) != 2 {
		t.Errorf("once an enter is attached: %d orphans, %d violations; want 1 and 2", len(c.orphans), len(c.violations))
	}
}
