// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"math"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/cilium/ebpf/asm"
)

func TestExtend(t *testing.T) {
	for _, c := range []struct {
		in     int64
		size   uint8
		signed bool
		want   int64
	}{
		{-1, 1, false, 0xff}, {-1, 1, true, -1}, {0x80, 1, true, -128}, {0x7f, 1, true, 127},
		{-1, 2, false, 0xffff}, {0x8000, 2, true, -32768},
		{-1, 4, false, 0xffffffff}, {0x80000000, 4, true, math.MinInt32}, {1 << 40, 4, false, 0},
		{-1, 8, false, -1}, {math.MinInt64, 8, true, math.MinInt64},
	} {
		if got := extend(c.in, c.size, c.signed); got != c.want {
			t.Errorf("extend(%#x, %d, %v) = %#x, want %#x", c.in, c.size, c.signed, got, c.want)
		}
	}
}

// largest is a spec that takes the most instructions there can be.
func largest() siteSpec {
	mem := operand{kind: operandMem, size: 4, signed: true, hasBase: true, hasIndex: true, shift: 3}
	s := siteSpec{effect: probe.Enter, n: probe.MaxCaptures}
	for i := range s.captures {
		s.captures[i] = captureSpec{arg: mem, len: mem, typ: probe.CaptureBytes, max: probe.MaxString}
	}
	return s
}

// A jump reaches 32,767 instructions; the farthest passes over half the specs.
// LoadImm of 64 bits counts twice.
func TestBodyWithinReachOfJumps(t *testing.T) {
	specs := make([]siteSpec, specsPerProgram)
	for i := range specs {
		specs[i] = largest()
	}
	body := generateFetch(specs, true)
	if raw := body.Size() / asm.InstructionSize / 2; raw > math.MaxInt16 {
		t.Errorf("the largest body has a jump over %d instructions, jumps reach %d", raw, math.MaxInt16)
	}
}

// Every label is set once and every one that is jumped to exists.
func TestLabels(t *testing.T) {
	body := generateFetch([]siteSpec{largest(), {n: 0, effect: probe.Exit}, largest()}, true)
	set := make(map[string]int)
	for _, ins := range body {
		if s := ins.Symbol(); s != "" {
			set[s]++
		}
	}
	for i, ins := range body {
		r := ins.Reference()
		if r == "" || r == fnCopyBytes || r == fnCopyString || r == fnReadAbsent {
			continue
		}
		if set[r] != 1 {
			t.Errorf("instruction %d (%v) refers to %q, set %d times", i, ins, r, set[r])
		}
	}
}
