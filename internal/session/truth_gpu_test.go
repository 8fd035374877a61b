// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	us = int64(time.Microsecond)
	ms = int64(time.Millisecond)
)

// loop is a program: threads that repeat three phases inside of one, each of which
// moves memory at one moment of it.
type loop struct {
	threads, rounds int
	gap             int64   // between phases, ns
	where           float64 // in a phase, 0: at its start, 1: at its end
	latency         int64   // of a read, ns
	freed           int64   // by the last phase, bytes
	seed            uint64
}

// happening is one thing that a loop does, in the order of time.
type happening struct {
	at     int64
	thread int
	moves  int64  // bytes
	enter  string // a phase
	exit   bool   // the innermost phase
}

// run returns what the loop does.
func (l *loop) run(rng *rand.Rand) []happening {
	phases := [...]struct {
		name  string
		moves int64
	}{{"forward", 300 << 20}, {"optimizer", 40 << 20}, {"zero_grad", -l.freed}}
	var all []happening
	for thread := range l.threads {
		at := ms + rng.Int64N(60*ms)
		for range l.rounds {
			all = append(all, happening{at: at, thread: thread, enter: "step"})
			for _, p := range phases {
				at += l.gap + 1
				length := 20*ms + rng.Int64N(ms)
				moves := at + 1 + int64(l.where*float64(length-2))
				all = append(all, happening{at: at, thread: thread, enter: p.name},
					happening{at: moves, thread: thread, moves: p.moves},
					happening{at: at + length, thread: thread, exit: true})
				at += length
			}
			at += l.gap + 1
			all = append(all, happening{at: at, thread: thread, exit: true})
			at++
		}
	}
	slices.SortStableFunc(all, func(a, b happening) int { return int(a.at - b.at) })
	return all
}

// reads returns reads of what the loop has in use, at the pace that a budget of
// 0.75 % of a core allows: some right after boundaries, some between them.
func (l *loop) reads(rng *rand.Rand, all []happening) []gpu.Sample {
	const base = 1 << 30
	used := func(at int64) uint64 {
		sum := int64(base)
		for _, h := range all {
			if h.at <= at {
				sum += h.moves
			}
		}
		return uint64(sum)
	}
	var out []gpu.Sample
	pause := max(2*ms, (l.latency+3*us)*1000*4/30)
	for at, end := int64(0), all[len(all)-1].at+30*ms; at < end; {
		took := l.latency + rng.Int64N(20*us)
		out = append(out, gpu.Sample{
			Start: at, Mid: at + took/2, End: at + took,
			Used: gpu.Bytes(used(at + rng.Int64N(took+1))), Status: gpu.StatusOK,
		})
		at += took
		next := at + pause*3/4 + rng.Int64N(pause/2)
		// Mostly a boundary asks for a read, if the budget allows.
		i := slices.IndexFunc(all, func(h happening) bool { return h.at > at && h.moves == 0 })
		if i >= 0 && rng.IntN(4) > 0 {
			next = max(min(next, all[i].at+50*us+rng.Int64N(100*us)), at+pause/4)
		}
		at = next
	}
	return out
}

// replay plays a loop and its reads through what stands between the engine and the
// sink, and returns what is known in the end. Records come in batches.
func (l *loop) replay(t *testing.T, rng *rand.Rand, all []happening, reads []gpu.Sample) ([]stream.Boundary, *stream.Summary) {
	t.Helper()
	sampler := gpu.Start(gpu.NewFake(1), gpu.Options{})
	if err := sampler.Close(); err != nil {
		t.Fatal(err)
	}
	sampler.Take(nil)
	c := &collector{}
	q := &waiting{sink: c, figures: figures.New(), clock: clock.NewUnix(nil), gpu: newCorrelation(sampler)}
	rec := recorder.New(recorder.Limits{})
	process := &stream.Process{PID: 5, HostPID: 5}
	var now int64
	for len(all) > 0 {
		now += 1 + rng.Int64N(10*ms)
		for len(reads) > 0 && reads[0].End <= now {
			q.gpu.corr.Add(reads[0])
			q.gpu.fresh = append(q.gpu.fresh, reads[0])
			reads = reads[1:]
		}
		for len(all) > 0 && all[0].at <= now {
			play(t, q, rec, process, all[0])
			all = all[1:]
		}
		q.advance(now, now, false)
	}
	for _, r := range reads {
		q.gpu.corr.Add(r)
	}
	q.advance(now+ms, now+ms, true)
	if q.err != nil {
		t.Fatal(q.err)
	}
	var sum stream.Summary
	q.figures.Snapshot(&sum)
	return c.boundaries, &sum
}

func play(t *testing.T, q *waiting, rec *recorder.Recorder, process *stream.Process, h happening) {
	t.Helper()
	if h.moves != 0 {
		return
	}
	batch := rec.Acquire()
	st := batch.Stack(recorder.Key{SessionID: "s", ThreadID: h.thread + 1})
	var rb recorder.Boundary
	var err error
	if h.exit {
		top, _ := st.Top()
		rb, err = st.Exit(top)
	} else {
		_, rb, err = st.Enter("t", []byte(h.enter), nil)
	}
	rec.Release()
	if err != nil {
		t.Fatal(err)
	}
	b := stream.Boundary{Boundary: rb, Time: h.at, Thread: &stream.Thread{TID: h.thread + 1, HostTID: h.thread + 1, Process: process}}
	if h.exit {
		b.Duration = h.at - entered[rb.Scope]
	} else {
		entered[rb.Scope] = h.at
	}
	q.Record(&b)
}

// entered has the times of scopes of the loop that is played.
var entered = map[uint64]int64{}

// What is said without a doubt is true, whatever the reads: how much is in use at a
// boundary, and by how much it changed in a phase. And there is something that can
// be said without a doubt.
func TestCertainIsTrue(t *testing.T) {
	for _, latency := range []int64{0, 100 * us, 2 * ms} {
		for _, threads := range []int{1, 4} {
			certain, all, changes, scopes := 0, 0, 0, 0
			for _, gap := range []int64{0, 50 * us, 100 * us, 200 * us, ms} {
				for _, where := range []float64{0, 0.5, 1} {
					for seed := range uint64(4) {
						// What is kept grows with each round, or the last phase frees all.
						freed := []int64{300 << 20, 340 << 20}[seed%2]
						l := loop{threads, 40, gap, where, latency, freed, seed}
						b, c, x, s := l.check(t)
						all, certain, scopes, changes = all+b, certain+c, scopes+s, changes+x
					}
				}
			}
			t.Logf("reads of %v, %d threads: %.1f %% of %d boundaries certain, %.1f %% of %d changes",
				time.Duration(latency), threads, 100*float64(certain)/float64(all), all, 100*float64(changes)/float64(scopes), scopes)
			if latency == 0 && threads == 1 && (certain == 0 || changes == 0) {
				t.Error("nothing is certain with the best of reads")
			}
		}
	}
}

// check compares what is said with the truth, and returns how many boundaries and
// scopes there were, and of how many what is said is certain.
func (l *loop) check(t *testing.T) (boundaries, certain, changes, scopes int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(l.seed, uint64(l.gap)))
	all := l.run(rng)
	got, sum := l.replay(t, rng, all, l.reads(rng, all))
	used, at := int64(1<<30), map[uint64]int64{}
	for _, h := range all {
		used += h.moves
		if h.moves != 0 {
			continue
		}
		b := &got[boundaries]
		boundaries++
		r := &b.GPU[0]
		what := fmt.Sprintf("%+v: %v of %s at %d", *l, b.Action, b.Path, h.at)
		if r.Doubt == 0 {
			if certain++; !r.Used.Known || int64(r.Used.N) != used {
				t.Fatalf("%s: %v is certain, %d is true: %+v", what, r.Used, used, r)
			}
		}
		if b.Action == recorder.Enter {
			at[b.Scope] = used
			continue
		}
		scopes++
		if r.Change.Known && r.ChangeDoubt == 0 {
			if changes++; r.Change.N != used-at[b.Scope] {
				t.Fatalf("%s: a change of %d is certain, %d is true: %+v", what, r.Change.N, used-at[b.Scope], r)
			}
		}
		if r.Change.Known && (r.ChangeLow > r.Change.N || r.ChangeHigh < r.Change.N) {
			t.Fatalf("%s: %d is not from %d to %d", what, r.Change.N, r.ChangeLow, r.ChangeHigh)
		}
		if r.Peak.Known && r.Used.Known && r.Peak.N < r.Used.N {
			t.Fatalf("%s: a peak of %v below the %v in use", what, r.Peak, r.Used)
		}
	}
	l.telescope(t, got, sum)
	return boundaries, certain, changes, scopes
}

// telescope wants the changes of the phases of a loop, with those between them, to
// add up to the loop's own, to the byte: in the boundaries and in the figures.
func (l *loop) telescope(t *testing.T, got []stream.Boundary, sum *stream.Summary) {
	t.Helper()
	var inner, outer, between int64
	last := map[int]uint64{} // what was in use at the last boundary of each thread
	for i := range got {
		b := &got[i]
		r := &b.GPU[0]
		before, seen := last[b.ThreadID]
		last[b.ThreadID] = r.Used.N
		switch step := b.Path.Depth() == 1; {
		case b.Action == recorder.Exit && step:
			outer += r.Change.N
			between += int64(r.Used.N - before)
		case b.Action == recorder.Exit:
			inner += r.Change.N // 0 where one read serves both ends
		case seen && !step:
			between += int64(r.Used.N - before)
		}
	}
	if inner+between != outer {
		t.Fatalf("%+v: changes of %d in phases and %d between them, %d in all", *l, inner, between, outer)
	}
	for i := range sum.Paths {
		if len(sum.Paths[i].GPU) == 0 {
			continue
		}
		n := sum.Paths[i].GPU[0].Change.N
		if sum.Paths[i].Path.Depth() == 1 {
			outer -= n
		} else {
			inner -= n
		}
	}
	if inner != 0 || outer != 0 {
		t.Fatalf("%+v: the figures are off by %d and %d", *l, inner, outer)
	}
}
