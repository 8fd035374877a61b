// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/phasetrace/phasetrace/internal/probe"
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
	typ      probe.CaptureType
	max      uint16 // longest string to keep, in bytes
}

// siteSpec is all that generated instructions depend on: sites with equal
// specs are served by the same ones.
type siteSpec struct {
	effect   probe.Effect
	lane     uint8
	n        uint8
	captures [probe.MaxCaptures]captureSpec
}

// amd64Offsets are the offsets in bytes of the general registers in struct
// pt_regs (arch/x86/include/asm/ptrace.h), by their number in instructions.
var amd64Offsets = [...]uint16{
	probe.RAX: 80, probe.RCX: 88, probe.RDX: 96, probe.RBX: 40,
	probe.RSP: 152, probe.RBP: 32, probe.RSI: 104, probe.RDI: 112,
	probe.R8: 72, probe.R9: 64, probe.R10: 56, probe.R11: 48,
	probe.R12: 24, probe.R13: 16, probe.R14: 8, probe.R15: 0,
}

// Offsets of the program counter: rip in the same struct; pc in struct
// user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h), where register n lies
// at 8n and the stack pointer behind the 31 general registers.
const (
	amd64PC = 128
	arm64SP = 31 * 8
	arm64PC = 32 * 8
)

func registerOffset(arch probe.Arch, r probe.Reg) (uint16, error) {
	switch {
	case arch == probe.AMD64 && int(r) < len(amd64Offsets):
		return amd64Offsets[r], nil
	case arch == probe.ARM64 && r <= probe.SP:
		return uint16(r) * 8, nil
	}
	return 0, fmt.Errorf("no register %d on %v", r, arch)
}

func pcOffset(arch probe.Arch) uint16 {
	if arch == probe.ARM64 {
		return arm64PC
	}
	return amd64PC
}

// compileArg turns a note's argument into the operand from which instructions are
// generated. location is the site's address in the file: a symbol operand is
// found relative to it, so no load bias is needed and one program serves every
// process.
func compileArg(arch probe.Arch, a probe.Operand, location uint64) (operand, error) {
	op := operand{size: uint8(a.Size), signed: a.Signed}
	if a.Size != 1 && a.Size != 2 && a.Size != 4 && a.Size != 8 {
		return op, fmt.Errorf("argument %q cannot be decoded: %d bytes", a.Text, a.Size)
	}
	var err error
	switch a.Kind {
	case probe.OperandConst:
		op.kind, op.value = operandConst, a.Const
	case probe.OperandReg:
		op.kind, op.shift, op.hasBase = operandReg, a.Shift&63, true
		op.base, err = registerOffset(arch, a.Base)
	case probe.OperandSym:
		op.kind, op.hasBase, op.base = operandMem, true, pcOffset(arch)
		op.value = int64(a.Addr - location)
	case probe.OperandMem:
		op.kind, op.value = operandMem, a.Disp
		err = compileAddress(arch, a, &op)
	default:
		err = fmt.Errorf("argument %q cannot be decoded: %w", a.Text, a.Err)
	}
	return op, err
}

func compileAddress(arch probe.Arch, a probe.Operand, op *operand) error {
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
