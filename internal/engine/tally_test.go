// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// Hits are counted by process and pair: of sites that are removed, of pairs that
// come again under another number, of processes that have ended.
func TestTally(t *testing.T) {
	outer := &Pair{ID: "t:outer", Name: []byte("outer"), Reentrant: true}
	inner := &Pair{ID: "t:inner", Name: []byte("inner"), Reentrant: true}
	e := workerEngine(&totals{*figures.New()}, newSite(outer, probe.Enter), newSite(outer, probe.Exit),
		newSite(inner, probe.Enter), newSite(inner, probe.Exit))
	var seq uint64
	hit := func(time int64, site uint32, effect probe.Effect, depth int32) {
		e.Begin()
		e.Handle(&event.Marker{Head: event.Head{PID: 10, TID: 11, Time: time}, Effect: effect, Site: site, Depth: depth, Low: depth - 1, Seq: seq})
		e.End()
		seq++
	}
	hit(10, 0, probe.Enter, 1)
	hit(20, 2, probe.Enter, 2)
	hit(50, 3, probe.Exit, 1)
	e.Removing([]uint32{2, 3}, 60)
	hit(70, 2, probe.Enter, 2) // it costs all the same
	e.Begin()
	e.RemoveSite(2)
	e.RemoveSite(3)
	e.End()
	if id := e.AddSite(newSite(inner, probe.Enter)); id != 3 {
		t.Fatalf("the site that came again has number %d, want 3", id)
	}
	seq += 2 // two records are lost
	hit(80, 3, probe.Enter, 2)

	want := map[string]uint64{"t:outer": 1, "t:inner": 4}
	check := func(all []Tally) {
		t.Helper()
		if len(all) != 1 || all[0].Process.PID != 10 || all[0].Lost != 2 || len(all[0].Pairs) != len(want) {
			t.Fatalf("%+v: want those of process 10, of two pairs, with 2 lost", all)
		}
		for _, p := range all[0].Pairs {
			if p.Hits != want[p.Pair.ID] {
				t.Errorf("%s: %d hits, want %d", p.Pair.ID, p.Hits, want[p.Pair.ID])
			}
		}
	}
	check(e.Tallies())
	if got := e.TakeTallies(); len(got) != 0 {
		t.Errorf("%+v of processes that have ended, of which there is none", got)
	}
	e.Begin()
	e.ProcessGone(10, 0, 100)
	e.End()
	check(e.TakeTallies())
	if got := e.Tallies(); len(got) != 0 {
		t.Errorf("%+v of living processes, of which there is none", got)
	}
	if got := e.Load(inner); got.Entered != 2 || got.Outermost != 0 || got.Inside != 30+20 {
		t.Errorf("load of the inner pair: %+v", got)
	}
	if got := e.Load(outer); got.Entered != 1 || got.Outermost != 1 || got.Inside != 90 {
		t.Errorf("load of the outer pair: %+v", got)
	}
}

// A process more than there is room for is not forgotten.
func TestTallyOverflow(t *testing.T) {
	p := &Pair{ID: "t:p"}
	sites := []*Site{newSite(p, probe.Enter)}
	var ended endedTallies
	for range maxEndedTallies + 3 {
		one := &process{}
		one.tally.hit(0)
		one.tally.lost = 1
		ended.add(one, sites)
	}
	rest := ended.rest.of(nil, nil)
	if len(ended.list) != maxEndedTallies || rest.Lost != 3 || len(rest.Pairs) != 1 || rest.Pairs[0].Hits != 3 {
		t.Errorf("%d kept, the rest is %+v, want %d and 3 hits, 3 lost", len(ended.list), rest, maxEndedTallies)
	}
}

// What a site numbered far up costs is room for it once.
func TestTallyDoesNotAllocate(t *testing.T) {
	var c tally
	c.hit(1000)
	if n := testing.AllocsPerRun(100, func() { c.hit(1000); c.hit(3) }); n != 0 || c.bySite[1000] == 0 || c.bySite[1000] == math.MaxUint64 {
		t.Errorf("%v allocations", n)
	}
}
