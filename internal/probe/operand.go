// SPDX-License-Identifier: Apache-2.0

package probe

import "fmt"

// OperandKind says where the value of an operand is.
type OperandKind uint8

// Kinds of operands.
const (
	// OperandUnsupported: the value cannot be fetched; Operand.Err says why.
	OperandUnsupported OperandKind = iota
	// OperandConst: the value is Const.
	OperandConst
	// OperandReg: the low Size bytes of (Base >> Shift).
	OperandReg
	// OperandMem: the Size bytes at Base + (Index << Shift) + Disp. A part whose
	// Has flag is false counts as 0.
	OperandMem
	// OperandSym: the Size bytes at Addr plus the load bias of the mapping.
	OperandSym
)

// String returns a lower-case word for the kind.
func (k OperandKind) String() string {
	switch k {
	case OperandUnsupported:
		return "unsupported"
	case OperandConst:
		return "const"
	case OperandReg:
		return "reg"
	case OperandMem:
		return "mem"
	case OperandSym:
		return "sym"
	}
	return fmt.Sprintf("OperandKind(%d)", uint8(k))
}

// Operand is one argument of a site, decoded.
type Operand struct {
	// Text is the argument as the note has it, such as "-4@12(%rbp)".
	Text string
	// Size is the width of the value: 1, 2, 4 or 8 bytes. It is the note's
	// size, or the width of the register where that is narrower (8@%eax is
	// four bytes). 0 when the argument is unsupported and the size unknown.
	Size int
	// Signed says whether a narrow value is sign-extended.
	Signed bool
	// Kind says which of the fields below are meaningful.
	Kind OperandKind
	// Const is the value of an OperandConst, already cut to Size and extended as
	// Signed says. An unsigned value of 8 bytes is stored by its bits.
	Const int64
	// Base is the register of an OperandReg and the base of an OperandMem.
	Base Reg
	// Index is the index register of an OperandMem.
	Index Reg
	// HasBase and HasIndex say which registers an OperandMem has.
	HasBase, HasIndex bool
	// Shift is, for an OperandMem, the left shift of the index, 0 to 3; for an
	// OperandReg, the right shift of the register: 8 for %ah to %dh, else 0.
	Shift uint8
	// Disp is the displacement of an OperandMem in bytes.
	Disp int64
	// Addr is the address of an OperandSym as the file states it, before the load
	// bias. It lies, with Size, in a loaded segment of the file.
	Addr uint64
	// Err says why an argument is unsupported; nil otherwise.
	Err error
}
