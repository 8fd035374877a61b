// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// maxEngineHeap is what the engine and its recorder may take whatever a program
// does, in MiB; docs/reliability.md states it.
const maxEngineHeap = 192

// heap returns the live heap in MiB.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc >> 20
}

// noted returns the count of the note that contains words.
func noted(e *Engine, words string) uint64 {
	e.End()
	for _, n := range e.stats.notes(e.rec.Stats()) {
		if strings.Contains(n.What, words) {
			return n.Count
		}
	}
	return 0
}

// bounded is a machine whose engine writes nowhere.
func bounded() (*Engine, *machine) {
	e := NewEngine(Config{SessionID: "s", PageSize: 4096}, discard{})
	e.sites = randomPairs()
	return e, newMachine(e)
}

const (
	enterMarker = 2 * pairMarkers
	exitMarker  = enterMarker + 1
)

// Distinct names without end, in every place of a deep stack and of every
// duration: memory stays bounded, and what went over is counted.
func TestBoundNames(t *testing.T) {
	if testing.Short() {
		t.Skip("short: ten million boundaries, in which the kernel has no part")
	}
	e, m := bounded()
	task := m.newTask(0)
	long := strings.Repeat("x", maxNameBytes-16)
	token := uint64(0)
	for i := range 1_000_000 {
		depth := i % 40
		for d := range depth {
			token++
			m.marker(task, enterMarker, token, fmt.Sprint("level", d, " ", i%97), -1)
		}
		m.now += 1 << (i % 30)
		token++
		m.marker(task, enterMarker, token, fmt.Sprint(long, i), -1)
		m.now += 1 << (i % 37)
		for d := range depth + 1 {
			m.marker(task, exitMarker, token-uint64(d), "", -1)
		}
		if i > 200_000 && i%40 == 39 {
			break // about as many enters as a million names without a stack
		}
	}
	for i := range 1_000_000 {
		token++
		m.marker(task, enterMarker, token, fmt.Sprint("name ", i), -1)
		m.marker(task, exitMarker, token, "", -1)
	}
	if noted(e, "(other)") == 0 || e.stats.boundaries == 0 {
		t.Error("nothing went over the bound of paths")
	}
	mib := heap()
	e.End()
	t.Logf("%d boundaries, %d paths, heap %d MiB", e.stats.boundaries, e.rec.Stats().Paths, mib)
	if mib > maxEngineHeap {
		t.Errorf("heap of %d MiB, at most %d is stated", mib, maxEngineHeap)
	}
	runtime.KeepAlive(e)
}

// What a program can pile up is bounded, counted, and does no harm to what
// comes after it.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name, note string
		flood      func(e *Engine, m *machine)
		more       uint64 // of the note
	}{
		{"depth", "nested phases", func(_ *Engine, m *machine) {
			deep(m, recorder.DefaultMaxDepth+1000)
		}, 1000},
		{"open phases", "limit of open phases,", func(_ *Engine, m *machine) {
			for range recorder.DefaultMaxScopes/4000 + 1 {
				for task, i := m.newTask(0), 0; i < 4000; i++ {
					m.marker(task, 2*pairWork, 0, "", -1)
				}
			}
		}, 1},
		{"keyed phases", "keyed pairs", func(_ *Engine, m *machine) {
			for task, i := m.newTask(0), 0; i < maxKeyed+5; i++ {
				m.marker(task, 2*pairParcel, uint64(i), "", -1)
			}
		}, 5},
		{"threads", "threads beyond", func(_ *Engine, m *machine) {
			for range maxThreads + 7 {
				m.marker(m.newTask(1), 2*pairWork, 0, "", -1)
			}
		}, 7},
		{"processes", "processes beyond", func(_ *Engine, m *machine) {
			for range maxProcesses + 9 {
				m.marker(m.newTask(0), 2*pairWork, 0, "", -1)
			}
		}, 9},
		{"violations", "different ones", func(e *Engine, m *machine) {
			for i, task := 0, m.newTask(0); i < maxDefects+50; i++ {
				m.marker(task, enterMarker, 1, fmt.Sprint("a", i), -1)
				m.marker(task, enterMarker, 2, "b", -1)
				m.marker(task, exitMarker, 1, "", -1)
				m.marker(task, exitMarker, 2, "", -1)
			}
		}, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, m := bounded()
			first := m.newTask(0)
			m.marker(first, 2*pairOther, 1, "first", -1)
			c.flood(e, m)
			if got := noted(e, c.note); got < c.more {
				t.Errorf("the note %q counts %d, want at least %d", c.note, got, c.more)
			}
			violations := e.defects.total
			m.marker(first, 2*pairOther+1, 1, "", -1)
			if e.defects.total != violations || e.stats.strangers != 0 {
				t.Errorf("%d violations, %d strangers after the flood", e.defects.total-violations, e.stats.strangers)
			}
			if mib := heap(); mib > maxEngineHeap {
				t.Errorf("heap of %d MiB, at most %d is stated", mib, maxEngineHeap)
			}
			runtime.KeepAlive(e)
		})
	}
}

// deep enters and leaves n phases inside each other, without tokens.
func deep(m *machine, n int) {
	task := m.newTask(0)
	for range n {
		m.marker(task, 2*pairWork, 0, "", -1)
	}
	for range n {
		m.marker(task, 2*pairWork+1, 0, "", -1)
	}
}

// A recursion deeper than the limit is traced right up to it: the exits of the
// enters beyond it end nothing else.
func TestDeepRecursion(t *testing.T) {
	const beyond = 500
	e, m := bounded()
	deep(m, recorder.DefaultMaxDepth+beyond)
	if e.stats.boundaries != 2*recorder.DefaultMaxDepth || e.stats.tooDeep != beyond || e.defects.total != 0 || e.stats.synthetic != 0 {
		t.Errorf("%d boundaries, %d synthetic, %d too deep, %d violations", e.stats.boundaries, e.stats.synthetic, e.stats.tooDeep, e.defects.total)
	}
	for _, f := range e.stats.paths {
		// Level d is entered at step d and left as many steps before the end.
		if want := int64(2*(recorder.DefaultMaxDepth+beyond-f.path.Depth()) + 1); f.total != want {
			t.Fatalf("level %d lasted %d steps, want %d", f.path.Depth(), f.total, want)
		}
	}
}

// blank is a sink that keeps nothing.
type blank struct {
	collector
	n       uint64
	longest int
}

func (s *blank) Boundary(b *stream.Boundary) error {
	s.n++
	s.longest = max(s.longest, len(b.Path.Name()), len(b.Attributes))
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
	sum, err := Run(context.Background(), Options{
		PIDs: []int{p.Pid()}, SessionID: "s", Sink: sink, Without: testenv.Without(t),
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
