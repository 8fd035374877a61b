// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/phasetrace/phasetrace/bpf"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

const (
	operandConst = uint8(bpf.PhasetraceOperandKindOPERAND_CONST)
	operandReg   = uint8(bpf.PhasetraceOperandKindOPERAND_REG)
	operandMem   = uint8(bpf.PhasetraceOperandKindOPERAND_MEM)
)

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

// compileArg turns a note's argument into the operand that the BPF program
// evaluates. location is the site's address in the file: a symbol operand is
// found relative to it, so that no load bias is needed and every process is
// served by the same program.
func compileArg(arch usdt.Arch, a usdt.Arg, location uint64) (bpf.PhasetraceOperand, error) {
	op := bpf.PhasetraceOperand{Size: uint8(a.Size)}
	if a.Signed {
		op.IsSigned = 1
	}
	var err error
	switch a.Kind {
	case usdt.ArgConst:
		op.Kind, op.Value = operandConst, a.Const
	case usdt.ArgReg:
		op.Kind, op.Shift, op.HasBase = operandReg, a.Shift, 1
		op.Base, err = registerOffset(arch, a.Base)
	case usdt.ArgSym:
		op.Kind, op.HasBase, op.Base = operandMem, 1, pcOffset(arch)
		op.Value = int64(a.Addr - location)
	case usdt.ArgMem:
		op.Kind, op.Value = operandMem, a.Disp
		err = compileAddress(arch, a, &op)
	default:
		err = fmt.Errorf("argument %q cannot be decoded: %w", a.Text, a.Err)
	}
	return op, err
}

func compileAddress(arch usdt.Arch, a usdt.Arg, op *bpf.PhasetraceOperand) error {
	var err error
	if a.HasBase {
		op.HasBase = 1
		if op.Base, err = registerOffset(arch, a.Base); err != nil {
			return err
		}
	}
	if a.HasIndex {
		op.HasIndex, op.Shift = 1, a.Shift
		op.Index, err = registerOffset(arch, a.Index)
	}
	return err
}
