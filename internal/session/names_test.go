// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// blank is a sink that keeps nothing.
type blank struct {
	n       uint64
	longest int
}

func (s *blank) Start(*stream.Start) error { return nil }
func (s *blank) Flush() error              { return nil }
func (s *blank) End(*stream.Summary) error { return nil }

func (s *blank) Record(r stream.Record) error {
	if b, ok := r.(*stream.Boundary); ok {
		s.n++
		s.longest = max(s.longest, len(b.Path.Name()), len(b.Attributes))
	}
	return nil
}

// A real program with a million names: the whole session, its memory included.
func TestMillionNames(t *testing.T) {
	testenv.BPF(t)
	names := uint64(1_000_000)
	if testing.Short() {
		names = 50_000
	}
	p := fixture.Start(t, fixture.Build(t, "manynames.c"), fmt.Sprint(names))
	p.Expect("ready")
	sink := &blank{}
	sum, err := runAll(context.Background(), []int{p.Pid()}, Config{
		SessionID: "s", Sink: sink, Without: testenv.Without(t),
		Message: func(string) {}, Attached: func(Attached) error { p.WriteLine("go"); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Expect(fmt.Sprint("done ", names))
	p.WaitOK()
	if sum.Received+sum.Lost != 2*names || sum.ViolationTotal != 0 {
		t.Errorf("received %d, lost %d, %d violations", sum.Received, sum.Lost, sum.ViolationTotal)
	}
	if len(sum.Paths) > recorder.DefaultMaxChildren+2 {
		t.Errorf("%d paths kept", len(sum.Paths))
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "VmRSS") {
			t.Log(strings.TrimSpace(line))
		}
	}
	t.Logf("%d boundaries, %d paths, heap %d MiB", sink.n, len(sum.Paths), heap())
}

// heap returns the live heap in MiB.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc >> 20
}
