// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// variedSite is a site whose arguments are read in a way of their own.
func variedSite(id int) probe.Site {
	mem := func(disp int64) probe.Operand {
		return probe.Operand{Size: 8, Kind: probe.OperandMem, Base: probe.RBP, HasBase: true, Disp: disp, Text: fmt.Sprintf("8@%d(%%rbp)", disp)}
	}
	reg := probe.Operand{Size: 8, Kind: probe.OperandReg, Base: probe.Reg(id % 6), HasBase: true}
	s := probe.Site{ID: uint32(id), Arch: probe.AMD64, Effect: probe.Enter}
	s.Captures = append(s.Captures, probe.Capture{Operand: reg, Type: probe.CaptureInt})
	for i := range id % 4 {
		s.Captures = append(s.Captures, probe.Capture{Operand: mem(int64(-8 * (id + i))), Type: probe.CaptureInt})
	}
	s.Captures = append(s.Captures, probe.Capture{Operand: mem(int64(-16 * id)), Type: probe.CaptureStr, Max: 255})
	return s
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		tr, err := Open(Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := tr.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkStart50 opens a tracer and makes the programs for 50 sites, each
// with other arguments.
func BenchmarkStart50(b *testing.B) {
	var sites []probe.Site
	for i := range 50 {
		sites = append(sites, variedSite(i))
	}
	for b.Loop() {
		tr, err := Open(Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := tr.bind(sites); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := tr.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
