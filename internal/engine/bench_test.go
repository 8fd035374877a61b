// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// discard is an output that drops everything.
type discard struct{}

func (discard) Record(stream.Record) {}

// workerEngine is an engine with these sites, under the numbers 0, 1 and so on, that
// knows one thread.
func workerEngine(out Output, sites ...*Site) *Engine {
	e := New(Config{SessionID: "bench", PageSize: 4096}, out)
	for _, s := range sites {
		e.AddSite(s)
	}
	e.Begin()
	e.Handle(&event.Thread{Head: event.Head{PID: 10, TID: 11},
		Who: event.Identity{StartTime: 1, Comm: []byte("worker"), ViewPID: 10, ViewTID: 11, InnerPID: 10, InnerTID: 11}})
	e.End()
	return e
}

// benchEngine is an engine that traces our own markers on one thread and keeps
// figures, and the markers of one phase with four steps inside.
func benchEngine(tb testing.TB) (*Engine, []event.Marker) {
	tb.Helper()
	return benchEngineTo(tb, &totals{*figures.New()})
}

func benchEngineTo(tb testing.TB, out Output) (*Engine, []event.Marker) {
	tb.Helper()
	p := &Pair{ID: "phasetrace:enter/exit", Reentrant: true}
	enter, exit := newSite(p, probe.Enter), newSite(p, probe.Exit)
	enter.Token, enter.Name, enter.Object, enter.Rank = 0, 1, 2, 3
	exit.Token = 0
	e := workerEngine(out, enter, exit)

	var events []event.Marker
	record := func(site uint32, effect probe.Effect, depth int32, token uint64, name string) {
		ev := event.Marker{Head: event.Head{PID: 10, TID: 11}, Effect: effect, Site: site, Depth: depth, ResidentPages: 1000}
		ev.Values[enter.Token].Int = token
		if effect == probe.Enter {
			ev.Values[enter.Name].Str = []byte(name)
			ev.Values[enter.Object].NullPointer = true
			ev.Values[enter.Rank].Int = ^uint64(0)
		}
		events = append(events, ev)
	}
	record(0, probe.Enter, 1, 1, "step")
	for i, name := range []string{"load", "forward", "backward", "optimizer"} {
		record(0, probe.Enter, 2, uint64(i)+2, name)
		record(1, probe.Exit, 1, uint64(i)+2, name)
	}
	record(1, probe.Exit, 0, 1, "step")
	return e, events
}

// play hands the events over as if they came n times over, in one batch.
func play(e *Engine, events []event.Marker, seq *uint64) {
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
	if n := snapshot(e).Boundaries; n == 0 || e.defects.total != 0 || e.stats.Internal() != 0 {
		t.Errorf("boundaries %d, violations %d, internal errors %d", n, e.defects.total, e.stats.Internal())
	}
}

// valuesEngine is an engine that traces a pair of another program on one thread:
// two arguments are watched, and exits tell an integer and a string.
func valuesEngine(tb testing.TB, tells bool) (*Engine, []event.Marker) {
	tb.Helper()
	p := &Pair{ID: "shop:order__start/order__done", Name: []byte("order"), Reentrant: true, Watched: []WatchedArg{{0, 0}, {1, 1}}}
	enter, exit := newSite(p, probe.Enter), newSite(p, probe.Exit)
	enter.Watched, exit.Watched = []KeyPart{{0, 4}, {1, 8}}, []KeyPart{{0, 8}, {1, 8}}
	if tells {
		exit.Attrs = []Attr{{Key: "status", Slot: 2, Size: 4}, {Key: "error", Slot: 3, Format: FormatText}}
	}
	e := workerEngine(&totals{*figures.New()}, enter, exit)
	var events []event.Marker
	record := func(site uint32, effect probe.Effect, depth int32, id uint64) {
		ev := event.Marker{Head: event.Head{PID: 10, TID: 11}, Effect: effect, Site: site, Depth: depth, ResidentPages: 1000}
		ev.Values[0].Int, ev.Values[1].Int, ev.Values[2].Int = id, 0xffff8000, ^uint64(1)
		ev.Values[3].Str = []byte("not found: \"/a\"")
		events = append(events, ev)
	}
	for id := range uint64(4) {
		record(0, probe.Enter, 1, id)
		record(0, probe.Enter, 2, id+100)
		record(1, probe.Exit, 1, id+100)
		record(1, probe.Exit, 0, id)
	}
	return e, events
}

// What exits tell, and arguments that are watched, beside the same pair without
// values at its exits.
func BenchmarkExitValues(b *testing.B) {
	for name, tells := range map[string]bool{"without": false, "with": true} {
		b.Run(name, func(b *testing.B) {
			e, events := valuesEngine(b, tells)
			var seq uint64
			b.ReportAllocs()
			for i := 0; i < b.N; i += len(events) {
				play(e, events, &seq)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mboundaries/s")
		})
	}
}

func TestExitValuesDoNotAllocate(t *testing.T) {
	e, events := valuesEngine(t, true)
	var seq uint64
	play(e, events, &seq)
	if n := testing.AllocsPerRun(1000, func() { play(e, events, &seq) }); n != 0 {
		t.Errorf("%v allocations for %d boundaries in steady state, want none", n, len(events))
	}
	if s := e.Stats(); s.Internal()+s.Orphans+s.Violations != 0 || len(e.Overlaps()) != 0 {
		t.Errorf("%+v, overlaps %v", s, e.Overlaps())
	}
}
