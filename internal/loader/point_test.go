// SPDX-License-Identifier: Apache-2.0

package loader_test

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// A point takes no part in depths, whatever its lane: the kernel counts what is
// around it as if it were not there.
func TestPointsCountNoDepth(t *testing.T) {
	testenv.BPF(t)
	const phases, base = 10, 2
	path := fixture.Build(t, "spin.c")
	p := fixture.Start(t, path, "1", "10", "inline", "2")
	p.Expect("ready")
	sites, probes := foreignSites(t, path)
	for i := range sites {
		sites[i].Lane, sites[i].Captures = 1, nil
		if probes[i] == "exit" {
			sites[i].Effect = probe.Point
		}
	}
	tr := open(t, loader.Options{})
	attach(t, tr, p.Pid(), path, sites)
	p.WriteLine("go")
	p.CloseStdin()
	p.ReadAll()
	p.WaitOK()
	enters, points := int32(0), 0
	drain(t, tr, func(e *event.Marker) {
		if probes[e.Site] == "exit" {
			points++
			if e.Effect != probe.Point || e.Lane != 1 || e.Depth != 0 || e.Low != 0 {
				t.Errorf("point %d: %v, lane %d, depth %d, low %d; want a point, lane 1 and no depths", points, e.Effect, e.Lane, e.Depth, e.Low)
			}
			return
		}
		if e.Effect != probe.Enter || e.Depth != enters+1 || e.Low != enters {
			t.Errorf("enter %d: %v, depth %d, low %d", enters+1, e.Effect, e.Depth, e.Low)
		}
		enters++
	})
	if want := int32(phases + base); enters != want || points != int(want) {
		t.Errorf("%d enters and %d points, want %d of each", enters, points, want)
	}
}
