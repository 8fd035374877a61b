// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/figures"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
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

// totals is an output that keeps figures only.
type totals struct{ figures.Figures }

func (t *totals) Record(r stream.Record) { _ = t.Figures.Record(r) }

// snapshot returns the figures of an engine whose output is a totals.
func snapshot(e *Engine) stream.Summary {
	var sum stream.Summary
	e.lives.emit.out.(*totals).Snapshot(&sum)
	return sum
}

// orphans returns how many orphans of a reason the figures have counted.
func orphans(e *Engine, why stream.OrphanReason) uint64 {
	for _, o := range snapshot(e).OrphanReasons {
		if o.Reason == why {
			return o.Count
		}
	}
	return 0
}

func addSites(e *Engine) {
	for _, s := range randomPairs() {
		e.AddSite(s)
	}
}

// bounded is a machine whose engine writes nowhere.
func bounded() (*Engine, *machine) {
	e := New(Config{SessionID: "s", PageSize: 4096}, &totals{*figures.New()})
	addSites(e)
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
	long := strings.Repeat("x", 239)
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
	e.End()
	figs := snapshot(e)
	if e.Stats().Recorder.PathsOverflowed == 0 || figs.Boundaries == 0 {
		t.Error("nothing went over the bound of paths")
	}
	mib := heap()
	t.Logf("%d boundaries, %d paths, heap %d MiB", figs.Boundaries, e.scopes.rec.Stats().Paths, mib)
	if mib > maxEngineHeap {
		t.Errorf("heap of %d MiB, at most %d is stated", mib, maxEngineHeap)
	}
	runtime.KeepAlive(e)
}

// What a program can pile up is bounded, counted, and does no harm to what
// comes after it.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name  string
		note  func(Stats) uint64
		flood func(e *Engine, m *machine)
		more  uint64 // of the note
	}{
		{"depth", func(s Stats) uint64 { return s.TooDeep }, func(_ *Engine, m *machine) {
			deep(m, recorder.DefaultMaxDepth+1000)
		}, 1000},
		{"open phases", func(s Stats) uint64 { return s.TooMany }, func(_ *Engine, m *machine) {
			for range recorder.DefaultMaxScopes/4000 + 1 {
				for task, i := m.newTask(0), 0; i < 4000; i++ {
					m.marker(task, 2*pairWork, 0, "", -1)
				}
			}
		}, 1},
		{"keyed phases", func(s Stats) uint64 { return s.TooManyKeyed }, func(_ *Engine, m *machine) {
			for task, i := m.newTask(0), 0; i < maxKeyed+5; i++ {
				m.marker(task, 2*pairParcel, uint64(i), "", -1)
			}
		}, 5},
		{"threads", func(s Stats) uint64 { return s.ThreadsRefused }, func(_ *Engine, m *machine) {
			for range maxThreads + 7 {
				m.marker(m.newTask(1), 2*pairWork, 0, "", -1)
			}
		}, 7},
		{"processes", func(s Stats) uint64 { return s.ProcessesRefused }, func(_ *Engine, m *machine) {
			for range maxProcesses + 9 {
				m.marker(m.newTask(0), 2*pairWork, 0, "", -1)
			}
		}, 9},
		{"violations", func(s Stats) uint64 { return s.UnlistedViolations }, func(e *Engine, m *machine) {
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
			e.End()
			if got := c.note(e.Stats()); got < c.more {
				t.Errorf("%d are counted, want at least %d", got, c.more)
			}
			violations := e.defects.total
			m.marker(first, 2*pairOther+1, 1, "", -1)
			if e.defects.total != violations || e.stats.Internal() != 0 {
				t.Errorf("%d violations, %d internal errors after the flood", e.defects.total-violations, e.stats.Internal())
			}
			mib := heap()
			t.Logf("heap %d MiB", mib)
			if mib > maxEngineHeap {
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
	figs := snapshot(e)
	if figs.Boundaries != 2*recorder.DefaultMaxDepth || e.stats.TooDeep != beyond || e.defects.total != 0 || figs.Synthetic != 0 {
		t.Errorf("%d boundaries, %d synthetic, %d too deep, %d violations", figs.Boundaries, figs.Synthetic, e.stats.TooDeep, e.defects.total)
	}
	for _, f := range figs.Paths {
		// Level d is entered at step d and left as many steps before the end.
		if want := int64(2*(recorder.DefaultMaxDepth+beyond-f.Path.Depth()) + 1); int64(f.Total) != want {
			t.Fatalf("level %d lasted %d steps, want %d", f.Path.Depth(), f.Total, want)
		}
	}
}
