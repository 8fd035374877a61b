// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// A ten-byte nop without a one-byte nop in front can be probed where the kernel
// makes a call of it.
func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		kernel Rewriting
		offset uint64
		nop    probe.Nop
		says   string
	}{
		{RewritingTen, 0x1000, probe.Nop10, ""},
		{RewritingTen, 0x1ff6, probe.Nop10, ""}, // ends with the page
		{RewritingTen, 0x1ff7, probe.Nop10, "across the border of two pages"},
		{RewritingTen, 0x1ff7, probe.Nop1Then10, ""},
		{RewritingTen, 0x1000, probe.Nop5, ""},
		{RewritingFive, 0x1000, probe.Nop10, "never fires"},
		{RewritingFive, 0x1000, probe.Nop5, "unsafely"},
		{RewritingNone, 0x1ff7, probe.Nop10, "never fires"},
		{RewritingNone, 0x1000, probe.Nop5, ""},
		{RewritingUnknown, 0x1000, probe.Nop5, "unsafely"},
	} {
		if why := c.kernel.Refuses(c.offset, c.nop); !strings.Contains(why, c.says) || (why == "") != (c.says == "") {
			t.Errorf("kernel %d, %v at %#x: %q, want %q", c.kernel, c.nop, c.offset, why, c.says)
		}
	}
}

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
