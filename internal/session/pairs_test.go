// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// shopPairs are all that pairs.c has: nested ones, one across them on a lane
// of its own with two closers, one keyed, one that is not always closed.
var shopPairs = []string{
	"shop:order__start/order__done;attr.id=arg0;attr.goods=arg1:str",
	"shop:request__begin/request__end;attr.goods=arg0:str",
	"shop:sale__start/sale__commit,sale__abort;lane=sale;attr.id=arg0",
	"shop:parcel__start/parcel__done;key=arg0;attr.goods=arg1:str",
	"shop:query__start/query__done;lane=query;reentrant=false;name=arg0:str",
}

// startShop starts pairs.c and returns the ids of its two threads.
func startShop(t *testing.T, rounds int) (p *fixture.Proc, main, helper int) {
	t.Helper()
	p = fixture.Start(t, fixture.Build(t, "pairs.c"), fmt.Sprint(rounds))
	if _, err := fmt.Sscanf(p.ReadLine(), "thread %d %d", &main, &helper); err != nil {
		t.Fatal(err)
	}
	p.Expect("ready")
	return p, main, helper
}

// Pairs that cross each other on lanes of their own, and keyed ones that begin
// on one thread and end on another.
func TestLanesAndKeys(t *testing.T) {
	const rounds = 60
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			p, main, helper := startShop(t, rounds)
			tr := attach(t, []int{p.Pid()}, Config{Pairs: mustPairs(t, shopPairs...), Without: m.without})
			p.WriteLine("go")
			p.Expect(fmt.Sprintf("done %d", rounds))
			p.WaitOK()
			sum := tr.wait()
			if sum.ViolationTotal+sum.Orphans+sum.Lost != 0 || len(sum.ZeroSites) != 0 || len(sum.Notes) != 0 {
				t.Errorf("violations %v, %d orphans, %d lost, never hit %v, notes %v; want none",
					sum.Violations, sum.Orphans, sum.Lost, sum.ZeroSites, sum.Notes)
			}
			for path, want := range map[string]int{"order": 2 * rounds, "order / request": rounds, "sale": rounds, "parcel": rounds} {
				if got := properScopes(tr.boundaries, path); got != want {
					t.Errorf("%d scopes of %s, want %d", got, path, want)
				}
			}
			checkSales(t, tr.boundaries)
			checkParcels(t, tr.boundaries, main, helper)
			checkQueries(t, tr.boundaries, rounds)
		})
	}
}

// checkSales holds that each sale spans an order, crosses another, and is ended
// by the one or the other closer in turn.
func checkSales(t *testing.T, bs []stream.Boundary) {
	t.Helper()
	closers := []string{"sale__commit", "sale__abort"}
	n := 0
	for i := range bs {
		b := &bs[i]
		if b.Lane != "sale" || b.Action != recorder.Exit {
			continue
		}
		if want := closers[n%2]; b.Marker.Probe != want {
			t.Fatalf("sale %d was ended by %s, want %s", n, b.Marker.Probe, want)
		}
		if want := fmt.Sprintf(`{"id":%d}`, n); string(b.Attributes) != want {
			t.Fatalf("sale %d has attributes %s, want %s", n, b.Attributes, want)
		}
		n++
	}
}

func checkParcels(t *testing.T, bs []stream.Boundary, main, helper int) {
	t.Helper()
	n := uint64(0)
	for i := range bs {
		b := &bs[i]
		if b.Path.String() != "parcel" || b.Action != recorder.Exit {
			continue
		}
		if !b.Keyed || b.Key != stream.KeyOf(n) || b.Thread.TID != main || b.ExitThread == nil || b.ExitThread.TID != helper || b.HasCounters {
			t.Fatalf("parcel %d: key %v (keyed %v) from thread %d to %+v, counters %v; want thread %d to %d, and no counters over two threads",
				n, b.Key, b.Keyed, b.Thread.TID, b.ExitThread, b.HasCounters, main, helper)
		}
		n++
	}
}

// checkQueries holds that every query which nobody ended is ended by the next,
// or by the end of the program.
func checkQueries(t *testing.T, bs []stream.Boundary, rounds int) {
	t.Helper()
	n := 0
	for i := range bs {
		b := &bs[i]
		if b.Lane != "query" || b.Action != recorder.Exit {
			continue
		}
		want := stream.ReasonNone
		if n%3 == 2 {
			if want = stream.ReasonAbandoned; n == rounds-1 {
				want = stream.ReasonProcessExit
			}
		}
		if b.Synthetic != want || b.Path.Depth() != 1 {
			t.Fatalf("query %d (%s) ended by %q at depth %d, want %q at 1", n, b.Path, b.Synthetic, b.Path.Depth(), want)
		}
		n++
	}
	if n != rounds {
		t.Errorf("%d queries, want %d", n, rounds)
	}
}
