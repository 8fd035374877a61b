// SPDX-License-Identifier: Apache-2.0

package probe

import "fmt"

// Reg is an architecture's number of a general-purpose register: the one in
// the instruction encoding (and so 0 to 15 on amd64, 0 to 31 on arm64).
type Reg uint8

// Registers of amd64.
const (
	RAX Reg = iota
	RCX
	RDX
	RBX
	RSP
	RBP
	RSI
	RDI
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
)

// Registers of arm64; X1 to X29 are X0+1 to X0+29. XZR is not among them: an
// operand that reads it is the constant 0.
const (
	X0  Reg = 0
	X29 Reg = 29
	X30 Reg = 30
	SP  Reg = 31
)

var amd64Names = [...]string{
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
}

// Name returns the 64-bit name of the register on an architecture, such as
// "rax" or "x19".
func (r Reg) Name(a Arch) string {
	switch {
	case a == AMD64 && int(r) < len(amd64Names):
		return amd64Names[r]
	case a == ARM64 && r == SP:
		return "sp"
	case a == ARM64 && r < SP:
		return fmt.Sprintf("x%d", r)
	}
	return fmt.Sprintf("Reg(%d)", uint8(r))
}
