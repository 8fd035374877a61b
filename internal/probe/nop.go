// SPDX-License-Identifier: Apache-2.0

package probe

import "fmt"

// Nop is the instruction that a probe's location holds.
type Nop uint8

// Kinds of instructions under a site.
const (
	// NopNone is any other instruction.
	NopNone Nop = iota
	// Nop1 is the one-byte nop of x86-64, trapped safely on every kernel.
	Nop1
	// Nop5 is the five-byte nop, which Linux 6.18 to 7.2 rewrite unsafely.
	Nop5
	// Nop10 is the ten-byte nop, which Linux 7.3 and later rewrite safely. On
	// other kernels a probe on it attaches but never fires.
	Nop10
	// Nop1Then10 is a one-byte nop followed by the ten-byte nop, as our own
	// markers and libbpf's usdt.h have it. Probes sit on either.
	Nop1Then10
	// NopARM is the arm64 nop.
	NopARM
)

// String returns a short name such as "nop1".
func (n Nop) String() string {
	switch n {
	case NopNone:
		return "other"
	case Nop1:
		return "nop1"
	case Nop5:
		return "nop5"
	case Nop10:
		return "nop10"
	case Nop1Then10:
		return "nop1+nop10"
	case NopARM:
		return "nop"
	}
	return fmt.Sprintf("Nop(%d)", uint8(n))
}
