// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/figures"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// More boundaries wait for a sample than the queue holds, because the device
// does not answer: all go out, in order, and those that did not wait are reported.
func TestQueueOverflow(t *testing.T) {
	fake := gpu.NewFake(1)
	sampler := gpu.Start(fake, gpu.Options{})
	t.Cleanup(func() {
		if err := sampler.Close(); err != nil {
			t.Error(err)
		}
	})
	sink := &collector{}
	q := &waiting{sink: sink, figures: figures.New(), clock: clock.NewUnix(nil), gpu: newCorrelation(sampler)}
	for len(q.gpu.fresh) == 0 {
		q.gpu.take(clock.Monotonic()) // the correlator has one sample, and waits for later ones
	}
	rec := recorder.New(recorder.Limits{})
	th := &stream.Thread{TID: 7, HostTID: 7, Process: &stream.Process{}}
	ahead := clock.Monotonic() + int64(time.Hour) // no sample can come
	var seq int64
	var attributes, ends []byte // reused, as the engine does
	tell := func(b recorder.Boundary, err error) {
		if err != nil {
			t.Fatal(err)
		}
		attributes, ends = fmt.Appendf(attributes[:0], `{"n":%d}`, seq), fmt.Appendf(ends[:0], `{"end":%d}`, seq)
		b.Attributes = attributes
		q.Record(&stream.Boundary{Boundary: b, Time: ahead + seq, Thread: th, ExitAttributes: ends})
		seq++
	}
	for range maxQueued/2 + 1 {
		token, b, err := rec.Enter(recorder.Key{SessionID: "s", ThreadID: 7}, "t", "phase", nil)
		tell(b, err)
		b, err = rec.Exit(token, 7)
		tell(b, err)
	}
	if q.err != nil {
		t.Fatal(q.err)
	}
	if q.early == 0 || q.early != uint64(len(sink.boundaries)) {
		t.Errorf("%d boundaries written, %d counted as early", len(sink.boundaries), q.early)
	}
	if notes := q.notes(); len(notes) != 1 || notes[0].Count != q.early {
		t.Errorf("notes %v, want the %d", notes, q.early)
	}
	q.advance(ahead, ahead, true)
	if len(sink.boundaries) != int(seq) {
		t.Errorf("%d boundaries written at last, want %d", len(sink.boundaries), seq)
	}
	for i := range sink.boundaries {
		b := &sink.boundaries[i]
		if string(b.Attributes) != fmt.Sprintf(`{"n":%d}`, i) || string(b.ExitAttributes) != fmt.Sprintf(`{"end":%d}`, i) {
			t.Fatalf("boundary %d is out of order, or holds another's attributes: %s, %s", i, b.Attributes, b.ExitAttributes)
		}
	}
}

// What is active is known by lane: the exit of a phase in one leaves those of
// the others, and of keyed phases, alone.
func TestActivityByLane(t *testing.T) {
	rec := recorder.New(recorder.Limits{})
	batch := rec.Acquire()
	defer rec.Release()
	th := &stream.Thread{TID: 7, HostTID: 7, Process: &stream.Process{}}
	var a activity
	enter := func(lane, name string, keyed bool) (*recorder.Stack, recorder.Token) {
		st := batch.Stack(recorder.Key{SessionID: "s", ThreadID: 7, Lane: lane})
		token, rb, err := st.Enter("t", []byte(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		b := stream.Boundary{Boundary: rb, Thread: th, Keyed: keyed}
		if keyed {
			b.Key = stream.KeyOf(5)
		}
		a.apply(&b)
		return st, token
	}
	want := func(names ...string) {
		t.Helper()
		var got []string
		for _, p := range a.phases {
			got = append(got, p.Path.Name())
		}
		slices.Sort(got)
		if d := cmp.Diff(names, got); d != "" {
			t.Error(d)
		}
	}
	enter("", "query", false)
	transaction, token := enter("transaction", "transaction", false)
	enter("", "request", true)
	want("query", "request", "transaction")
	rb, err := transaction.Exit(token)
	if err != nil {
		t.Fatal(err)
	}
	a.apply(&stream.Boundary{Boundary: rb, Thread: th})
	want("query", "request")
}

// While threads are in different phases, a sample and a peak tell the one
// entered last among those still open.
func TestPeakOfDifferentPhases(t *testing.T) {
	rec, figs := recorder.New(recorder.Limits{}), figures.New()
	var active activity
	step := func(tid int, name string) { // "" ends the innermost phase
		t.Helper()
		batch := rec.Acquire()
		st := batch.Stack(recorder.Key{SessionID: "s", ThreadID: tid})
		var rb recorder.Boundary
		var err error
		if name == "" {
			top, _ := st.Top()
			rb, err = st.Exit(top)
		} else {
			_, rb, err = st.Enter("t", []byte(name), nil)
		}
		rec.Release()
		if err != nil {
			t.Fatal(err)
		}
		active.apply(&stream.Boundary{Boundary: rb, Thread: &stream.Thread{TID: tid, HostTID: tid, Process: &stream.Process{}}})
	}
	for i, c := range []struct {
		tid                int
		name, path, likely string
	}{
		{1, "train", "train", ""},
		{2, "load", "", "load"},
		{1, "step", "", "train / step"},
		{2, "read", "", "load / read"},
		{2, "", "", "train / step"}, // read is over, load was entered before step
		{2, "", "train / step", ""},
	} {
		step(c.tid, c.name)
		_ = figs.Record(&stream.Sample{Sample: gpu.Sample{Used: gpu.Bytes(uint64(i + 1))}, Phase: active.attribute(func(int) bool { return true })})
		var sum stream.Summary
		figs.Snapshot(&sum)
		a := sum.RunPeak[0].Phase
		var path, likely string
		if a.Path != nil {
			path = a.Path.String()
		}
		if a.Likely.Path != nil {
			likely = a.Likely.Path.String()
		}
		if path != c.path || likely != c.likely || (a.Certainty == recorder.Ambiguous) != (likely != "") {
			t.Errorf("sample %d: %v, phase %q, likely %q; want %q and %q", i, a.Certainty, path, likely, c.path, c.likely)
		}
	}
}

// Records that wait show the thread and the process as they were, whatever the
// engine learns of them meanwhile: nothing of that is copied.
func TestQueuedRecordsAreFrozen(t *testing.T) {
	sampler := gpu.Start(gpu.NewFake(1), gpu.Options{})
	defer sampler.Close()
	c := &collector{}
	q := &waiting{sink: c, figures: figures.New(), clock: clock.NewUnix(nil), gpu: newCorrelation(sampler)}
	e := engine.New(engine.Config{SessionID: "s", PageSize: 4096}, q)
	p := &engine.Pair{ID: "p", Name: []byte("phase"), Reentrant: true}
	site := e.AddSite(&engine.Site{Pair: p, Effect: probe.Enter, Token: engine.None,
		Rank: engine.None, Name: engine.None, Object: engine.None})
	e.AddProcess(stream.Process{PID: 5, HostPID: 5, Comm: "old", Exe: "/old"})
	who := event.Identity{StartTime: 1, Comm: []byte("thread"), ViewPID: 5, ViewTID: 6}
	e.Begin()
	e.Handle(&event.Thread{Head: event.Head{Time: 1, PID: 5, TID: 6}, Who: who})
	e.Handle(&event.Marker{Head: event.Head{Time: 2, PID: 5, TID: 6}, Site: site, Effect: probe.Enter, Depth: 1})
	e.Handle(&event.Marker{Head: event.Head{Time: 3, PID: 5, TID: 6}, Site: site, Effect: probe.Enter, Seq: 4, Depth: 2, Low: 1})
	who.Comm, who.ViewTID = []byte("new"), 5 // an exec from another thread than the first
	e.Handle(&event.Exec{Head: event.Head{Time: 4, PID: 5, TID: 5}, Who: who, FormerTID: 6, FormerStart: 1, Markers: 5})
	e.End()
	e.Described(5, engine.Description{Comm: "newer", Exe: "/newer", Rank: 3, RankSource: "RANK"})
	e.Begin()
	e.Finish(5)
	e.End()
	if len(c.boundaries) > 0 {
		t.Fatal("nothing waits")
	}
	q.advance(6, 6, true)
	if len(c.boundaries) != 4 || len(c.losses) != 1 || len(c.processes) != 1 {
		t.Fatalf("%d boundaries, %d losses, %d processes; want 4, 1 and 1", len(c.boundaries), len(c.losses), len(c.processes))
	}
	threads := []*stream.Thread{c.losses[0].Thread}
	for i := range c.boundaries {
		threads = append(threads, c.boundaries[i].Thread)
	}
	for _, th := range threads {
		if th.TID != 6 || th.Name != "thread" || th.Process.Comm != "old" || th.Process.Exe != "/old" || th.Process.Rank != 0 {
			t.Errorf("a record is of thread %+v of %+v", th, th.Process)
		}
	}
	if p := c.processes[0].Process; p.Comm != "newer" || p.Exe != "/newer" || p.Rank != 3 {
		t.Errorf("the exec is of %+v", p)
	}
}
