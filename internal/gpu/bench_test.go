// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/clock"
)

// BenchmarkCorrelation is one enter and one exit on one device, with a new
// sample for each, and nesting of 8.
func BenchmarkCorrelation(b *testing.B) {
	for _, bm := range []struct {
		name    string
		devices int
	}{{"1 device", 1}, {"8 devices", 8}} {
		b.Run(bm.name, func(b *testing.B) {
			c := NewCorrelator(CorrelatorOptions{})
			dst := make([]Reading, 0, bm.devices)
			clock := int64(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				clock += 1000
				for d := range bm.devices {
					c.Add(okSample(d, clock, uint64(clock)^0x5555))
				}
				dst = c.Enter(uint32(i%8), clock+10, dst[:0])
				dst = c.Exit(uint32((i+1)%8), clock+20, dst[:0])
			}
		})
	}
}

// BenchmarkKick is a kick while a read is wanted already, and the first one.
func BenchmarkKick(b *testing.B) {
	s := newSampler(Options{})
	readers := []*reader{newReader(s, Device{}, 1)}
	s.readers.Store(&readers)
	b.Run("wanted already", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Kick()
		}
	})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			readers[0].kicked.Store(false)
			s.Kick()
		}
	})
}

// BenchmarkRead is all that a sampler does for a read, over a source that costs
// nothing.
func BenchmarkRead(b *testing.B) {
	s := newSampler(Options{})
	s.source = NewFake(1)
	r := newReader(s, Device{}, 1)
	samples := make([]Sample, 0, DefaultQueue)
	b.ReportAllocs()
	for b.Loop() {
		r.pacer.due(clock.Monotonic(), true, never)
		r.readOnce()
		samples = s.Take(samples[:0])
	}
}
