// SPDX-License-Identifier: Apache-2.0

package hitcost

import (
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// delivered is how many hits of the markers were recorded, or counted.
func delivered(m *Meter, counted bool) (uint64, error) {
	if counted {
		a, err := m.tracer.Counts().Read()
		if err != nil {
			return 0, err
		}
		var n uint64
		for i := range a.Paths {
			n += a.Paths[i].Entered + a.Paths[i].Ended
		}
		return n, nil
	}
	_, err := m.tracer.Read(time.Now().Add(time.Second), func(event.Event) {})
	if err != nil {
		return 0, err
	}
	st, err := m.tracer.Stats()
	return st.Received, err
}

// Each marker is hit, once a call, by the programs of every mode; and what is
// measured is a trap, not noise.
func TestMeter(t *testing.T) {
	testenv.BPF(t)
	for name, o := range map[string]loader.Options{
		"recorded":              {},
		"recorded, all":         {AllProcesses: true},
		"recorded, one by one":  {Without: loader.Without{UprobeMulti: true}},
		"recorded, common ring": {Without: loader.Without{CPURings: true}},
		"counted":               {Aggregate: true},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}()
			if c := m.Cost(); c != nil {
				t.Errorf("%+v before anything was measured", c)
			}
			if err := m.Measure(Batches); err != nil {
				t.Fatal(err)
			}
			hits, err := delivered(m, o.Aggregate)
			if want := uint64(6 * pairsPerBatch * Batches); err != nil || hits != want {
				t.Errorf("%d hits, %v; want %d", hits, err, want)
			}
			c := m.Cost()
			t.Logf("%+v", c)
			if len(c) != 3 || c[0].Cost < 20 || c[1].Cost < c[0].Cost || c[2].Cost < c[1].Cost { // ns; a call without a trap takes 2
				t.Fatalf("%+v: no trap costs that", c)
			}
			if c[1].Gap <= c[0].Gap || c[2].Gap <= c[1].Gap {
				t.Errorf("%+v: want more work from point to point", c)
			}
		})
	}
}
