// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// operandKind says where an argument is found.
type operandKind uint8

const (
	operandConst operandKind = iota + 1
	operandReg
	operandMem // at base + (index << shift) + value
)

// operand is one argument, as instructions are generated for it.
type operand struct {
	kind     operandKind
	value    int64  // constant, or displacement
	base     uint16 // registers: offsets in the machine's pt_regs, in bytes
	index    uint16
	size     uint8 // 1, 2, 4 or 8 bytes
	shift    uint8 // of the index; of a register: right shift in bits (8 for %ah)
	signed   bool
	hasBase  bool
	hasIndex bool
}

// captureSpec is one value to fetch.
type captureSpec struct {
	arg, len operand // len: CaptureBytes only
	typ      CaptureType
	max      uint16 // longest string to keep, in bytes
}

// siteSpec is all that generated instructions depend on: sites with equal
// specs are served by the same ones.
type siteSpec struct {
	role     Role
	lane     uint8
	n        uint8
	captures [MaxCaptures]captureSpec
}

// amd64Offsets are the offsets in bytes of the general registers in struct
// pt_regs (arch/x86/include/asm/ptrace.h), by their number in instructions.
var amd64Offsets = [...]uint16{
	usdt.RAX: 80, usdt.RCX: 88, usdt.RDX: 96, usdt.RBX: 40,
	usdt.RSP: 152, usdt.RBP: 32, usdt.RSI: 104, usdt.RDI: 112,
	usdt.R8: 72, usdt.R9: 64, usdt.R10: 56, usdt.R11: 48,
	usdt.R12: 24, usdt.R13: 16, usdt.R14: 8, usdt.R15: 0,
}

// Offsets of the program counter: rip in the same struct; pc in struct
// user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h), where register n lies
// at 8n and the stack pointer behind the 31 general registers.
const (
	amd64PC = 128
	arm64SP = 31 * 8
	arm64PC = 32 * 8
)

func registerOffset(arch usdt.Arch, r usdt.Reg) (uint16, error) {
	switch {
	case arch == usdt.AMD64 && int(r) < len(amd64Offsets):
		return amd64Offsets[r], nil
	case arch == usdt.ARM64 && r <= usdt.SP:
		return uint16(r) * 8, nil
	}
	return 0, fmt.Errorf("no register %d on %v", r, arch)
}

func pcOffset(arch usdt.Arch) uint16 {
	if arch == usdt.ARM64 {
		return arm64PC
	}
	return amd64PC
}

// compileArg turns a note's argument into the operand that is generated from.
// location is the site's address in the file: a symbol operand is found
// relative to it, so that no load bias is needed and every process is served
// by the same program.
func compileArg(arch usdt.Arch, a usdt.Arg, location uint64) (operand, error) {
	op := operand{size: uint8(a.Size), signed: a.Signed}
	if a.Size != 1 && a.Size != 2 && a.Size != 4 && a.Size != 8 {
		return op, fmt.Errorf("argument %q cannot be decoded: %d bytes", a.Text, a.Size)
	}
	var err error
	switch a.Kind {
	case usdt.ArgConst:
		op.kind, op.value = operandConst, a.Const
	case usdt.ArgReg:
		op.kind, op.shift, op.hasBase = operandReg, a.Shift&63, true
		op.base, err = registerOffset(arch, a.Base)
	case usdt.ArgSym:
		op.kind, op.hasBase, op.base = operandMem, true, pcOffset(arch)
		op.value = int64(a.Addr - location)
	case usdt.ArgMem:
		op.kind, op.value = operandMem, a.Disp
		err = compileAddress(arch, a, &op)
	default:
		err = fmt.Errorf("argument %q cannot be decoded: %w", a.Text, a.Err)
	}
	return op, err
}

func compileAddress(arch usdt.Arch, a usdt.Arg, op *operand) error {
	var err error
	if a.HasBase {
		op.hasBase = true
		if op.base, err = registerOffset(arch, a.Base); err != nil {
			return err
		}
	}
	if a.HasIndex {
		op.hasIndex, op.shift = true, a.Shift&63
		op.index, err = registerOffset(arch, a.Index)
	}
	return err
}
