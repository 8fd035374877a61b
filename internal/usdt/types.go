// SPDX-License-Identifier: Apache-2.0

package usdt

import "github.com/phasetrace/phasetrace/internal/probe"

// MaxArgs is the number of arguments a probe can have; the header that
// defines the format, SystemTap's sys/sdt.h, ends at STAP_PROBE12. Further
// ones are dropped and reported as a [Problem].
const MaxArgs = 12

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
	// Shadowed: a process can map the page of the file that holds the semaphore
	// at a second place too, writable until the dynamic linker has relocated the
	// file (RELRO, as lld and mold lay it out). Until then Linux raises the
	// semaphore there, where the program does not read it.
	Shadowed bool
	// ArgText is the argument string of the note; empty where it was implausibly
	// long, which a Problem reports.
	ArgText string
	// Args are the arguments in order, at most MaxArgs.
	Args []probe.Operand
	// Nop is the instruction at Offset.
	Nop probe.Nop
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
	Arch probe.Arch
	// Sites in the order of their notes.
	Sites []Site
	// Problems found in the notes; bounded; the last one counts those left out.
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
	// file has them, $ORIGIN unexpanded, an empty one for the working directory. A
	// loader ignores RPath where there is a RunPath.
	RPath, RunPath []string
	// Interp is the dynamic loader that the file asks for, empty for none.
	Interp string
	// Start is the file offset of an instruction that runs when the file has been
	// relocated and its RELRO write-protected, before any marker of its own code:
	// a program's entry, a library's initialiser (DT_INIT), and in a program
	// without a dynamic loader that of its C library. 0 for none.
	Start uint64
	// Constant are the addresses, before the load bias, of what is mapped from
	// the file and cannot be written.
	Constant []Range
	// Segments are the parts of the file that are loaded, in the order of addresses.
	Segments []Segment
}

// Segment is a part of a file that is mapped into memory.
type Segment struct {
	Range           // addresses before the load bias
	Offset   uint64 // of Start in the file
	Writable bool
}

// Range is the addresses from Start to before End.
type Range struct{ Start, End uint64 }
