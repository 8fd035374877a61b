// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// discard is an output that drops everything.
type discard struct{}

func (discard) boundary(*stream.Boundary)     {}
func (discard) violation(*stream.Violation)   {}
func (discard) orphan(*stream.Orphan)         {}
func (discard) loss(*stream.Loss)             {}
func (discard) process(*stream.ProcessChange) {}

// benchEngine is an engine that traces our own markers on one thread, and the
// records of one phase with four steps inside.
func benchEngine(tb testing.TB) (*Engine, []loader.Event) {
	tb.Helper()
	return benchEngineTo(tb, discard{})
}

func benchEngineTo(tb testing.TB, out output) (*Engine, []loader.Event) {
	tb.Helper()
	e := NewEngine(Config{SessionID: "bench", PageSize: 4096}, out)
	args := []usdt.Arg{{Size: 8, Kind: usdt.ArgReg}, {Size: 8, Kind: usdt.ArgReg}, {Size: 8, Kind: usdt.ArgReg}, {Size: 4, Signed: true, Kind: usdt.ArgReg}}
	p := &pair{spec: usdt.Markers()}
	enter, _, missing := planSite(p, loader.Enter, usdt.AMD64, &usdt.Site{Provider: "phasetrace", Name: "enter", Args: args})
	exit, _, _ := planSite(p, loader.Exit, usdt.AMD64, &usdt.Site{Provider: "phasetrace", Name: "exit", Args: args[:2]})
	if len(missing) > 0 {
		tb.Fatal(missing)
	}
	e.sites = []*site{enter, exit}
	e.Begin()
	e.Handle(&loader.Event{Kind: loader.KindThread, PID: 10, TID: 11,
		Who: loader.Identity{StartTime: 1, Comm: []byte("worker"), ViewPID: 10, ViewTID: 11, InnerPID: 10, InnerTID: 11}})
	e.End()

	var events []loader.Event
	record := func(site uint32, role loader.Role, depth int32, token uint64, name string) {
		ev := loader.Event{Kind: loader.KindMarker, Role: role, Site: site, PID: 10, TID: 11, Depth: depth, RSSPages: 1000}
		ev.Values[enter.token].Int = token
		if role == loader.Enter {
			ev.Values[enter.name].Str = []byte(name)
			ev.Values[enter.object].NullPointer = true
			ev.Values[enter.rank].Int = ^uint64(0)
		}
		events = append(events, ev)
	}
	record(0, loader.Enter, 1, 1, "step")
	for i, name := range []string{"load", "forward", "backward", "optimizer"} {
		record(0, loader.Enter, 2, uint64(i)+2, name)
		record(1, loader.Exit, 1, uint64(i)+2, name)
	}
	record(1, loader.Exit, 0, 1, "step")
	return e, events
}

// play hands the events over as if they came n times over, in one batch.
func play(e *Engine, events []loader.Event, seq *uint64) {
	e.Begin()
	for i := range events {
		ev := &events[i]
		ev.Seq = *seq
		ev.Time = int64(*seq) * 1000
		*seq++
		e.Handle(ev)
	}
	e.End()
}

// One boundary from event to statistics: recorder, repair checks and figures.
func BenchmarkEngine(b *testing.B) {
	e, events := benchEngine(b)
	var seq uint64
	b.ReportAllocs()
	for i := 0; i < b.N; i += len(events) {
		play(e, events, &seq)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mboundaries/s")
}

func TestEngineDoesNotAllocate(t *testing.T) {
	e, events := benchEngine(t)
	var seq uint64
	play(e, events, &seq) // paths and histograms take memory once
	if n := testing.AllocsPerRun(1000, func() { play(e, events, &seq) }); n != 0 {
		t.Errorf("%v allocations for %d boundaries in steady state, want none", n, len(events))
	}
	if e.stats.boundaries == 0 || e.defects.total != 0 || e.stats.strangers != 0 {
		t.Errorf("boundaries %d, violations %d, strangers %d", e.stats.boundaries, e.defects.total, e.stats.strangers)
	}
}
