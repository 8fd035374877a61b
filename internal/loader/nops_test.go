// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// Only on a kernel that makes calls of ten-byte nops a probe goes behind the first
// byte, and only where the kernel can do so: within a page.
func TestPlace(t *testing.T) {
	for _, c := range []struct {
		kernel Rewriting
		offset uint64
		nop    probe.Nop
		at     uint64
		used   probe.Nop
	}{
		{RewritingTen, 0x1000, probe.Nop1Then10, 0x1001, probe.Nop10},
		{RewritingTen, 0x1ff5, probe.Nop1Then10, 0x1ff6, probe.Nop10}, // ends with the page
		{RewritingTen, 0x1ff6, probe.Nop1Then10, 0x1ff6, probe.Nop1},
		{RewritingTen, 0x1ffe, probe.Nop1Then10, 0x1ffe, probe.Nop1},
		{RewritingTen, 0x1fff, probe.Nop1Then10, 0x2000, probe.Nop10}, // begins the next
		{RewritingTen, 0x1000, probe.Nop1, 0x1000, probe.Nop1},
		{RewritingTen, 0x1000, probe.Nop5, 0x1000, probe.Nop5},
		{RewritingTen, 0x1000, probe.Nop10, 0x1000, probe.Nop10},
		{RewritingFive, 0x1000, probe.Nop1Then10, 0x1000, probe.Nop1},
		{RewritingNone, 0x1000, probe.Nop1Then10, 0x1000, probe.Nop1},
		{RewritingUnknown, 0x1000, probe.Nop1Then10, 0x1000, probe.Nop1},
		{RewritingNone, 0x1000, probe.NopARM, 0x1000, probe.NopARM},
	} {
		if at, used := c.kernel.Place(c.offset, c.nop); at != c.at || used != c.used {
			t.Errorf("kernel %d, %v at %#x: %v at %#x, want %v at %#x", c.kernel, c.nop, c.offset, used, at, c.used, c.at)
		}
	}
}
