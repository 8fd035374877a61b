// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// What a point tells goes into each phase, with words, at no allocation.
func TestContextDoesNotAllocate(t *testing.T) {
	p := &Pair{ID: "db:execute__start/execute__done", Name: []byte("execute"), Reentrant: true, Fails: true}
	enter, exit, point := newSite(p, probe.Enter), newSite(p, probe.Exit), newSite(p, probe.Point)
	enter.Attrs = []Attr{
		{Key: "sql", Slot: 0, FromContext: true, Outer: true},
		{Key: "mode", Slot: 1, Format: FormatWord, Size: 4, Words: []Word{{Value: 1, Text: "read"}, {Value: 2, Text: "write"}}},
		{Key: "flags", Slot: 1, Format: FormatFlags, Size: 4, Words: []Word{{Value: 1, Text: "wait"}, {Value: 2, Text: "force"}}},
	}
	point.Over, point.Context = []*Pair{p}, []ContextValue{{Number: 0, Attr: Attr{Slot: 0, Format: FormatText}}}
	e := workerEngine(&totals{*figures.New()}, enter, exit, point)
	var events []event.Marker
	record := func(site uint32, effect probe.Effect, depth int32, sql string) {
		ev := event.Marker{Head: event.Head{PID: 10, TID: 11}, Effect: effect, Site: site, Depth: depth, ResidentPages: 1000}
		ev.Values[0].Str, ev.Values[1].Int = []byte(sql), 6
		events = append(events, ev)
	}
	for _, sql := range []string{"select 1", "select \"a\" from b where c = 'a longer text'"} {
		record(2, probe.Point, 0, sql)
		record(0, probe.Enter, 1, "")
		record(0, probe.Enter, 2, "")
		record(1, probe.Exit, 1, "")
		record(1, probe.Exit, 0, "")
	}
	var seq uint64
	play(e, events, &seq)
	if n := testing.AllocsPerRun(1000, func() { play(e, events, &seq) }); n != 0 {
		t.Errorf("%v allocations for %d records in steady state, want none", n, len(events))
	}
	if s := e.Stats(); s.Internal()+s.Orphans+s.Violations != 0 {
		t.Errorf("%+v", s)
	}
}
