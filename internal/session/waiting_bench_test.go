// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// discard is a sink that keeps nothing.
type discard struct{}

func (discard) Start(*stream.Start) error     { return nil }
func (discard) Record(stream.Record) error    { return nil }
func (discard) Flush() error                  { return nil }
func (discard) End(sum *stream.Summary) error { return nil }

// BenchmarkWaiting is all that happens to a boundary from the engine to the sink
// while a GPU is sampled: 1,000 boundaries for each read, of four threads.
func BenchmarkWaiting(b *testing.B) {
	sampler := gpu.Start(gpu.NewFake(1), gpu.Options{})
	if err := sampler.Close(); err != nil {
		b.Fatal(err)
	}
	sampler.Take(nil)
	q := &waiting{sink: discard{}, figures: figures.New(), clock: clock.NewUnix(nil), gpu: newCorrelation(sampler)}
	rec := recorder.New(recorder.Limits{})
	process := &stream.Process{PID: 5, HostPID: 5}
	var threads [4]*stream.Thread
	for i := range threads {
		threads[i] = &stream.Thread{TID: i + 1, HostTID: i + 1, Process: process}
	}
	name := []byte("phase")
	now := int64(1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		thread := threads[i/2%len(threads)]
		batch := rec.Acquire()
		st := batch.Stack(recorder.Key{SessionID: "s", ThreadID: thread.TID})
		var rb recorder.Boundary
		var err error
		if top, open := st.Top(); open {
			rb, err = st.Exit(top)
		} else {
			_, rb, err = st.Enter("t", name, nil)
		}
		rec.Release()
		if err != nil {
			b.Fatal(err)
		}
		now += 1000
		q.Record(&stream.Boundary{Boundary: rb, Time: now, Duration: 1000, Thread: thread})
		if i%1000 == 999 {
			q.gpu.corr.Add(gpu.Sample{Start: now, Mid: now + 5, End: now + 10, Used: gpu.Bytes(uint64(i)), Status: gpu.StatusOK})
			q.advance(now+20, now+20, false)
		}
	}
}
