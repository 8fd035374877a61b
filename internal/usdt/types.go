// SPDX-License-Identifier: Apache-2.0

package usdt

import "fmt"

// MaxArgs is the number of arguments a probe can have; the header that
// defines the format, SystemTap's sys/sdt.h, ends at STAP_PROBE12. Further
// ones are dropped and reported as a [Problem].
const MaxArgs = 12

// Arch is the instruction set of a file.
type Arch uint8

// The supported instruction sets. The zero Arch is none of them.
const (
	AMD64 Arch = 1 + iota
	ARM64
)

// String returns the name that Go and Debian use for the architecture.
func (a Arch) String() string {
	switch a {
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	}
	return fmt.Sprintf("Arch(%d)", uint8(a))
}

// ArgKind says where the value of an argument is.
type ArgKind uint8

// Kinds of arguments.
const (
	// ArgUnsupported: the value cannot be had; Arg.Err says why.
	ArgUnsupported ArgKind = iota
	// ArgConst: the value is Const.
	ArgConst
	// ArgReg: the low Size bytes of (Base >> Shift).
	ArgReg
	// ArgMem: the Size bytes at Base + (Index << Shift) + Disp. A part whose
	// Has flag is false counts as 0.
	ArgMem
	// ArgSym: the Size bytes at Addr plus the load bias of the mapping.
	ArgSym
)

// String returns a lower-case word for the kind.
func (k ArgKind) String() string {
	switch k {
	case ArgUnsupported:
		return "unsupported"
	case ArgConst:
		return "const"
	case ArgReg:
		return "reg"
	case ArgMem:
		return "mem"
	case ArgSym:
		return "sym"
	}
	return fmt.Sprintf("ArgKind(%d)", uint8(k))
}

// Arg is one decoded argument of a site.
type Arg struct {
	// Text is the argument as the note has it, such as "-4@12(%rbp)".
	Text string
	// Size is the width of the value: 1, 2, 4 or 8 bytes. It is the note's
	// size, or the width of the register where that is narrower (8@%eax is
	// four bytes). 0 when the argument is unsupported and the size unknown.
	Size int
	// Signed says whether a narrow value is sign-extended.
	Signed bool
	// Kind says which of the fields below are meaningful.
	Kind ArgKind
	// Const is the value of an ArgConst, already cut to Size and extended as
	// Signed says. An unsigned value of 8 bytes is here by its bits.
	Const int64
	// Base is the register of an ArgReg and the base of an ArgMem.
	Base Reg
	// Index is the index register of an ArgMem.
	Index Reg
	// HasBase and HasIndex say which registers an ArgMem has.
	HasBase, HasIndex bool
	// Shift is, for an ArgMem, the left shift of the index, 0 to 3; for an
	// ArgReg, the right shift of the register: 8 for %ah to %dh, else 0.
	Shift uint8
	// Disp is the displacement of an ArgMem in bytes.
	Disp int64
	// Addr is the address of an ArgSym as the file states it, before the load
	// bias. It lies, with Size, in a loaded segment of the file.
	Addr uint64
	// Err says why an argument is unsupported; nil otherwise.
	Err error
}

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
	// Nop10 is the ten-byte nop, which Linux 7.3 and later rewrite safely and
	// where other kernels attach and never fire.
	Nop10
	// Nop1Then10 is a one-byte nop followed by the ten-byte nop, as our own
	// markers have it. Probes sit on the first.
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

// Site is one place of one probe in a file. A probe can have many sites, each
// with operands and a semaphore of its own.
type Site struct {
	Provider, Name string
	// Location is the virtual address of the probe in the file, corrected by
	// the file's .stapsdt.base.
	Location uint64
	// Offset is the file offset to attach to.
	Offset uint64
	// Semaphore is the corrected virtual address of the 16-bit semaphore, 0
	// for none.
	Semaphore uint64
	// RefCtr is the file offset of the semaphore, 0 for none. Where Semaphore
	// is set and RefCtr is 0, the semaphore has no place in the file: the
	// probe can never fire, and a Problem says so.
	RefCtr uint64
	// ArgText is the argument string of the note; empty where it was too long
	// to be true, which a Problem says.
	ArgText string
	// Args are the arguments in order, at most MaxArgs.
	Args []Arg
	// Nop is the instruction at Offset.
	Nop Nop
}

// Problem is a defect of a file that cost a probe or part of one.
type Problem struct {
	// Probe is "provider:name" where it is known, else empty.
	Probe string
	// Err says what is wrong and what follows from it.
	Err error
}

// Error returns the probe and the defect, so that a Problem is an error.
func (p Problem) Error() string {
	if p.Probe == "" {
		return p.Err.Error()
	}
	return p.Probe + ": " + p.Err.Error()
}

// Unwrap returns the defect.
func (p Problem) Unwrap() error { return p.Err }

// File is what an ELF file says about its probes and about how it is loaded.
type File struct {
	Arch Arch
	// Sites in the order of their notes.
	Sites []Site
	// Problems found in the notes; bounded, the last one counts what was left
	// out.
	Problems []Problem
	// BuildID is the GNU build id in lower-case hex, empty for none.
	BuildID string
	// Static says that the file is a program that needs no dynamic loader.
	Static bool
	// PIE says that the file is a program that can be loaded anywhere.
	PIE bool
	// Shared says that the file is a shared library.
	Shared bool
	// Needed are the names of DT_NEEDED in order.
	Needed []string
	// Soname is DT_SONAME, empty for none.
	Soname string
	// RPath and RunPath are the directories of DT_RPATH and DT_RUNPATH as the
	// file has them, $ORIGIN unexpanded. A loader ignores RPath where there is
	// a RunPath.
	RPath, RunPath []string
	// Interp is the dynamic loader that the file asks for, empty for none.
	Interp string
	// Constant are the addresses, before the load bias, of what is mapped from
	// the file and cannot be written.
	Constant []Range
}

// Range is the addresses from Start to before End.
type Range struct{ Start, End uint64 }
