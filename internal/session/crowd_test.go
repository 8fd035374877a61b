// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// scene lets threads of processes enter and leave phases, in front of a crowd.
type scene struct {
	t     *testing.T
	rec   *recorder.Recorder
	crowd *crowd
	at    map[uint64]int64 // when scopes were entered
	inner uint64           // the scope entered last: nothing is in it yet
}

func newScene(t *testing.T) *scene {
	return &scene{t, recorder.New(recorder.Limits{}), newCrowd(), map[uint64]int64{}, 0}
}

// step lets a thread enter a phase, or leave the innermost one if it has no name. A
// process is the thread's number without its last digit.
func (s *scene) step(at int64, tid int, lane, name string) *stream.Boundary {
	s.t.Helper()
	batch := s.rec.Acquire()
	st := batch.Stack(recorder.Key{SessionID: "s", ThreadID: tid, Lane: lane})
	var rb recorder.Boundary
	var err error
	if name == "" {
		top, _ := st.Top()
		rb, err = st.Exit(top)
	} else {
		_, rb, err = st.Enter("t", []byte(name), nil)
	}
	s.rec.Release()
	if err != nil {
		s.t.Fatal(err)
	}
	b := &stream.Boundary{Boundary: rb, Time: at, Thread: &stream.Thread{TID: tid, HostTID: tid, Process: &stream.Process{HostPID: tid / 10}}}
	if name == "" {
		b.Duration = at - s.at[rb.Scope]
		if rb.Scope == s.inner {
			b.Self = b.Duration
		}
	} else {
		s.inner = rb.Scope
	}
	s.at[rb.Scope] = at
	s.crowd.see(b)
	s.crowd.known = at
	return b
}

// want checks what is in doubt for a boundary between two times.
func (s *scene) want(b *stream.Boundary, from, to int64, want gpu.Doubt) {
	s.t.Helper()
	s.crowd.ask(b)
	if got := s.crowd.Between(from, to); got != want {
		s.t.Errorf("boundary at %d, from %d to %d: %b, want %b", b.Time, from, to, got, want)
	}
	if got := s.crowd.Since(from); got != want&gpu.DoubtThreads {
		s.t.Errorf("boundary at %d, since %d: %b, want %b", b.Time, from, got, want&gpu.DoubtThreads)
	}
}

func TestCrowdOfOneThread(t *testing.T) {
	s := newScene(t)
	s.step(10, 11, "", "step")
	enter := s.step(20, 11, "", "forward")
	s.want(enter, 15, 20, 0)
	s.step(30, 11, "other lane", "request")
	exit := s.step(40, 11, "", "")
	s.want(exit, 25, 40, 0)
	s.want(exit, 20, 40, gpu.DoubtPhases) // forward itself
	s.want(exit, 25, 41, gpu.DoubtPhases) // who knows
	s.step(50, 11, "", "")
	s.want(exit, 15, 50, gpu.DoubtPhases)
	s.want(exit, 21, 50, 0) // what has ended began earlier
}

// One phase frees what the next one takes again: reads that are far enough apart for
// both cannot tell.
func TestCrowdOfPhasesThatUndoEachOther(t *testing.T) {
	s := newScene(t)
	s.step(10, 11, "", "step")
	s.step(20, 11, "", "zero_grad")
	exit := s.step(40, 11, "", "")
	enter := s.step(41, 11, "", "forward")
	s.crowd.known = 60
	s.want(exit, 30, 50, 0)
	s.want(exit, 29, 50, gpu.DoubtPhases)
	s.want(enter, 29, 50, gpu.DoubtPhases)
}

func TestCrowdOfThreads(t *testing.T) {
	s := newScene(t)
	s.step(10, 12, "", "load")
	s.step(11, 12, "", "read")
	enter := s.step(20, 11, "", "step")
	s.want(enter, 15, 20, gpu.DoubtThreads)
	s.step(30, 12, "", "")
	s.want(enter, 25, 30, gpu.DoubtThreads) // load is still open
	s.step(40, 12, "", "")
	s.want(enter, 40, 40, gpu.DoubtThreads)
	s.want(enter, 41, 40, 0)
	s.step(50, 11, "", "")
	s.want(enter, 41, 50, 0) // its own
	s.step(60, 13, "", "a")
	s.step(70, 13, "", "")
	exit := s.step(80, 11, "", "b")
	s.want(exit, 65, 80, gpu.DoubtThreads|gpu.DoubtPhases)
	s.want(exit, 75, 80, 0)
	other := s.step(90, 21, "", "elsewhere") // another process
	s.want(other, 0, 90, 0)
	s.want(exit, 80, 90, 0)
	s.want(exit, 75, 90, gpu.DoubtPhases) // a took 10
	s.crowd.forget(1)
	s.want(exit, 0, 90, 0)
}

// Keyed phases have no thread to themselves, and orphans were in a phase that nobody
// saw begin.
func TestCrowdOfKeysAndOrphans(t *testing.T) {
	s := newScene(t)
	b := s.step(10, 11, "", "step")
	keyed := *b
	keyed.Keyed, keyed.Slot = true, 77
	s.crowd.see(&keyed)
	s.crowd.known = 30
	s.want(b, 11, 11, gpu.DoubtThreads)
	s.want(&keyed, 11, 11, gpu.DoubtThreads)
	keyed.Action, keyed.Time, keyed.Duration = recorder.Exit, 20, 10
	s.crowd.see(&keyed)
	s.want(b, 20, 20, gpu.DoubtThreads)
	s.want(b, 21, 21, 0)
	s.crowd.see(&stream.Orphan{Time: 25, Thread: &stream.Thread{HostTID: 12, Process: &stream.Process{HostPID: 1}}})
	s.want(b, 21, 21, gpu.DoubtThreads)
	s.want(b, 26, 26, 0)
}

func TestForecast(t *testing.T) {
	s, f := newScene(t), newForecast()
	for i, length := range []int64{20 * ms, 20 * ms, 20 * ms, 20 * ms, 21 * ms, 35 * ms, ms, ms, 50 * ms, 20 * ms} {
		at := int64(i) * 100 * ms
		b := s.step(at, 11, "", "forward")
		expected, ok := f.note(b)
		if want := i >= forecastAfter && i < 7; ok != want {
			t.Errorf("%d: expected at %d: %v", i, expected, ok)
		}
		if ahead := at + 20*ms - expected; i == 3 && ahead != int64(forecastMargin) {
			t.Errorf("%d ns ahead of the exit of a steady phase", ahead)
		}
		f.note(s.step(at+length, 11, "", ""))
	}
	for i := range int64(10) {
		if _, ok := f.note(s.step(i*ms, 12, "", "short")); ok {
			t.Error("a short phase is worth no forecast")
		}
		f.note(s.step(i*ms+1, 12, "", ""))
	}
	doubtful := s.step(0, 13, "", "doubtful")
	for range 10 {
		doubtful.Action, doubtful.Duration, doubtful.Doubt = recorder.Exit, 20*ms, stream.DoubtOverlapping
		f.note(doubtful)
		doubtful.Action = recorder.Enter
		if _, ok := f.note(doubtful); ok {
			t.Error("durations that nobody knows make no forecast")
		}
	}
}

// Each rank is shown the device that it uses, and a sample of a device names phases
// of the processes that use it.
func TestDeviceOfTheRank(t *testing.T) {
	sampler := gpu.Start(gpu.NewFake(2), gpu.Options{})
	if err := sampler.Close(); err != nil {
		t.Fatal(err)
	}
	s, g := newScene(t), newCorrelation(sampler)
	s.crowd = g.crowd
	for device := range 2 {
		g.corr.Add(gpu.Sample{Device: device, Start: 1, Mid: 2, End: 3, Used: gpu.Bytes(uint64(device + 5)), Status: gpu.StatusOK})
		for _, pid := range []int{1, 2, 3} {
			p := gpu.ProcessSample{Device: device, PID: pid, Mid: 2, Status: gpu.StatusNotListed}
			if pid == device+1 {
				p.Status, p.Used = gpu.StatusOK, gpu.Bytes(3)
			}
			g.corr.AddProcess(p)
		}
	}
	for _, tt := range []struct {
		tid  int
		want [2]gpu.Status
	}{
		{11, [2]gpu.Status{gpu.StatusOK, gpu.StatusNotUsed}},
		{21, [2]gpu.Status{gpu.StatusNotUsed, gpu.StatusOK}},
		{31, [2]gpu.Status{gpu.StatusOK, gpu.StatusOK}}, // on no list: whose memory it works with is not known
	} {
		b := s.step(10, tt.tid, "", []string{"", "zero", "one", "two"}[tt.tid/10])
		g.complete(b)
		for device, want := range tt.want {
			if r := b.GPU[device]; r.Status != want || r.Used.Known != (want == gpu.StatusOK) {
				t.Errorf("thread %d, device %d: %+v, want %v", tt.tid, device, r, want)
			}
		}
	}
	for device, want := range []string{"zero", "one"} {
		if a := g.attribute(device); len(a.Candidates) != 2 || a.Candidates[0].Path.Name() != want && a.Candidates[1].Path.Name() != want {
			t.Errorf("device %d: %+v", device, a)
		}
	}
}
