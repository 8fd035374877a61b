// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"testing"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// variedSite is a site whose arguments are read in a way of their own.
func variedSite(id int) Site {
	mem := func(disp int64) usdt.Arg {
		return usdt.Arg{Size: 8, Kind: usdt.ArgMem, Base: usdt.RBP, HasBase: true, Disp: disp, Text: fmt.Sprintf("8@%d(%%rbp)", disp)}
	}
	reg := usdt.Arg{Size: 8, Kind: usdt.ArgReg, Base: usdt.Reg(id % 6), HasBase: true}
	s := Site{ID: uint32(id), Arch: usdt.AMD64, Role: Enter}
	s.Captures = append(s.Captures, Capture{Arg: reg, Type: CaptureInt})
	for i := range id % 4 {
		s.Captures = append(s.Captures, Capture{Arg: mem(int64(-8 * (id + i))), Type: CaptureInt})
	}
	s.Captures = append(s.Captures, Capture{Arg: mem(int64(-16 * id)), Type: CaptureStr, Max: 255})
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
	var sites []Site
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
