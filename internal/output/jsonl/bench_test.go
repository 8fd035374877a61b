// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// sample returns the typical enter and exit, three levels of detail: as marked,
// with attributes, and with host and GPU memory too.
func sample(tb testing.TB, detail string) (*Sink, func(io.Writer) *Sink, []*stream.Boundary) {
	tb.Helper()
	s := outputtest.Typical()
	var pair []*stream.Boundary
	for _, r := range s.Records {
		b, ok := r.(*stream.Boundary)
		if !ok || b.Path.Name() != "step" {
			continue
		}
		c := *b
		switch detail {
		case "bare":
			c.Attributes, c.GPU, c.ProcessGPU, c.Resident = nil, nil, nil, stream.Resident{}
		case "attributes":
			c.GPU, c.ProcessGPU = nil, nil
		case "gpu":
			c.GPU = append([]gpu.Reading(nil), c.GPU[:1]...)
		}
		pair = append(pair, &c)
	}
	if len(pair) != 2 {
		tb.Fatalf("%d boundaries of step", len(pair))
	}
	open := func(w io.Writer) *Sink {
		sink := New(w, "test")
		if err := sink.Start(&s.Start); err != nil {
			tb.Fatal(err)
		}
		return sink
	}
	return open(io.Discard), open, pair
}

var details = []string{"bare", "attributes", "gpu"}

func TestBoundaryDoesNotAllocate(t *testing.T) {
	for _, detail := range details {
		sink, _, pair := sample(t, detail)
		if n := testing.AllocsPerRun(1000, func() {
			for _, b := range pair {
				if err := sink.Record(b); err != nil {
					t.Fatal(err)
				}
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations an enter and exit", detail, n)
		}
	}
}

// BenchmarkBoundary writes to a file in the temporary directory, flushed every
// 1000 boundaries. One operation is one boundary.
func BenchmarkBoundary(b *testing.B) {
	for _, detail := range details {
		b.Run(detail, func(b *testing.B) {
			_, open, pair := sample(b, detail)
			f, err := os.Create(filepath.Join(b.TempDir(), "out.jsonl"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			sink := open(f)
			b.ReportAllocs()
			bytes := 0
			for i := 0; b.Loop(); i++ {
				from := len(sink.out.B)
				if err := sink.Record(pair[i&1]); err != nil {
					b.Fatal(err)
				}
				bytes += max(0, len(sink.out.B)-from)
				if i%1000 == 999 {
					if err := sink.Flush(); err != nil {
						b.Fatal(err)
					}
				}
				if i%(1<<18) == 0 { // keep the file small
					if _, err := f.Seek(0, io.SeekStart); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "boundaries/s")
		})
	}
}
