// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// counting is a sink that takes records and counts them.
type counting struct{ n atomic.Int64 }

func (*counting) Start(*stream.Start) error    { return nil }
func (c *counting) Record(stream.Record) error { c.n.Add(1); return nil }
func (*counting) Flush() error                 { return nil }
func (*counting) End(*stream.Summary) error    { return nil }
func (c *counting) await(n int64) {
	for c.n.Load() < n {
		runtime.Gosched()
	}
}

func TestAsyncDoesNotAllocate(t *testing.T) {
	var sink counting
	a := start(t, &sink, stream.AsyncOptions{})
	all := records(1000)
	var given int64
	round := func() {
		for _, r := range all {
			if err := a.Record(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Flush(); err != nil {
			t.Fatal(err)
		}
		given += int64(len(all))
		sink.await(given)
	}
	for range 20 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for %d records", n, len(all))
	}
	if err := a.End(&stream.Summary{}); err != nil {
		t.Fatal(err)
	}
}

// Memory grows to the bound while the sink hangs, and is given back.
func TestAsyncGivesMemoryBack(t *testing.T) {
	const bound = 50_000
	hang := make(chan bool)
	var sink counting
	a := start(t, &gated{&sink, hang}, stream.AsyncOptions{Records: bound})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	b := &stream.Boundary{Thread: thread}
	b.Attributes = []byte(`{"a":1}`)
	before := heap()
	for range 2 * bound {
		if err := a.Record(b); err != nil {
			t.Fatal(err)
		}
	}
	most := heap() - before
	if most < bound*100 || most > stream.DefaultAsyncBytes {
		t.Errorf("%d bytes for %d records that wait", most, bound)
	}
	close(hang)
	sink.await(bound)
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	if left := heap() - before; left > most/10 {
		t.Errorf("%d bytes are kept after %d", left, most)
	}
	if got := a.Dropped().Total(); got != bound {
		t.Errorf("%d records dropped, want %d", got, bound)
	}
	if err := a.End(&stream.Summary{}); err != nil {
		t.Fatal(err)
	}
}

// gated is a sink that waits until the gate is open.
type gated struct {
	*counting
	gate chan bool
}

func (g *gated) Record(r stream.Record) error { <-g.gate; return g.counting.Record(r) }

// BenchmarkAsync: one operation is one boundary given to a sink that keeps up.
func BenchmarkAsync(b *testing.B) {
	boundary := func(devices int) stream.Record {
		r := &stream.Boundary{Thread: thread, Marker: site}
		r.Attributes = []byte(`{"epoch":1,"loss":0.25,"file":"x"}`)
		for d := range devices {
			r.GPU = append(r.GPU, gpu.Reading{Device: d})
			r.ProcessGPU = append(r.ProcessGPU, gpu.ProcessReading{})
		}
		return r
	}
	for name, r := range map[string]stream.Record{"bare": boundary(0), "gpu": boundary(1), "gpus": boundary(8)} {
		b.Run(name, func(b *testing.B) {
			var sink counting
			a := stream.Async(&sink, stream.AsyncOptions{})
			if err := a.Start(&stream.Start{}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var n int64
			for b.Loop() {
				if err := a.Record(r); err != nil {
					b.Fatal(err)
				}
				if n++; n%1000 == 0 {
					if err := a.Flush(); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := a.End(&stream.Summary{}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(a.Dropped().Total())/float64(n), "dropped/op")
		})
	}
}
