// SPDX-License-Identifier: Apache-2.0

package semaphore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
)

// Memory is that of a process.
type Memory interface {
	ReadMemory(b []byte, at uint64) error
	WriteMemory(b []byte, at uint64) error
}

// File is a file with probes, as a process has it mapped.
type File struct {
	Arch     probe.Arch
	Sites    []Site            // all of the file, whoever attaches to them
	Mappings []process.Mapping // all of the file, in the order of addresses
	Content  io.ReaderAt
	// Exact: the process has had the file mapped more than once. What Linux
	// counted for a copy that is gone is no breakpoint any more, and is taken off.
	Exact bool
}

// Result says what was found in a process, and done.
type Result struct {
	State State
	// Moved is how many semaphores were raised where Linux is going to lower them.
	Moved int
	// Off is how many semaphores are zero in a place where the program reads them,
	// although there are breakpoints under their probes.
	Off int
}

// Settle makes a process's semaphores agree with the breakpoints that Linux has
// under its probes: what Linux will take back, it must find. A semaphore that
// it has raised elsewhere is raised where it counts now, and put to zero where
// it never will again. That is what Linux would have counted, so that the
// semaphore still falls with the breakpoints, whatever becomes of us.
//
// While Linux counts where the program does not read, nothing is written,
// unless last says that the breakpoints are about to be taken out: then the
// place is memory that the program does not use.
func Settle(mem Memory, f File, last bool) (Result, error) {
	var r Result
	var errs []error
	for _, c := range counters(f.Mappings, f.Sites) {
		state := c.state()
		r.State = max(r.State, state)
		if state == Unmapped {
			continue
		}
		errs = append(errs, c.settle(mem, f, last, &r))
	}
	return r, errors.Join(errs...)
}

func (c *counter) settle(mem Memory, f File, last bool, r *Result) error {
	state := c.state()
	if state == Right && !c.doubtful && !f.Exact {
		// The common case is one read.
		if n, err := value(mem, c.count); err != nil || n > 0 {
			return err
		}
	}
	breakpoints, err := c.breakpoints(mem, f)
	if err != nil || breakpoints == 0 && !f.Exact {
		return err
	}
	if state != Nowhere && (state != Elsewhere || last) {
		if err := c.move(mem, breakpoints, f.Exact || state == Twice, r); err != nil {
			return err
		}
	}
	if breakpoints == 0 {
		return nil
	}
	for _, address := range c.read {
		n, err := value(mem, address)
		if err != nil {
			return err
		}
		if n == 0 {
			r.Off++
			break
		}
	}
	return nil
}

// move raises the counter at the place where Linux lowers it to at least n, or
// puts it to exactly n, and puts it to zero in the others.
func (c *counter) move(mem Memory, n uint16, exact bool, r *Result) error {
	have, err := value(mem, c.count)
	if err == nil && (have < n || exact && have != n) {
		r.Moved++
		err = setValue(mem, c.count, n)
	}
	if err != nil {
		return err
	}
	for _, other := range c.read {
		if other == c.count {
			continue
		}
		have, err := value(mem, other)
		if err == nil && have > 0 {
			err = setValue(mem, other, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func value(mem Memory, at uint64) (uint16, error) {
	var b [2]byte
	err := mem.ReadMemory(b[:], at)
	return binary.LittleEndian.Uint16(b[:]), err
}

func setValue(mem Memory, at uint64, n uint16) error {
	return mem.WriteMemory(binary.LittleEndian.AppendUint16(nil, n), at)
}

// The instructions that Linux puts in the place of others:
// UPROBE_SWBP_INSN of arch/x86 and arch/arm64, include/asm/uprobes.h.
var breakpoint = map[probe.Arch][]byte{
	probe.AMD64: {0xcc},
	probe.ARM64: {0xa0, 0x00, 0x20, 0xd4},
}

// breakpoints returns how many of the probes that a counter enables have one,
// in all mappings of their code: Linux puts them, and counts them, in every
// mapping that it could make executable.
func (c *counter) breakpoints(mem Memory, f File) (n uint16, err error) {
	insn := breakpoint[f.Arch]
	now, original := make([]byte, len(insn)), make([]byte, len(insn))
	for _, s := range c.sites {
		if _, err := f.Content.ReadAt(original, int64(s.Offset)); err != nil {
			return 0, err
		}
		for _, m := range f.Mappings {
			address, ok := at(m, s.Offset)
			if !ok || len(m.Perms) < 1 || m.Perms[0] != 'r' && !m.Executable() {
				continue
			}
			if err := mem.ReadMemory(now, address); err != nil {
				return 0, err
			}
			// In code anything else than the file has is Linux's: it makes calls of
			// some long nops.
			if bytes.Equal(now, insn) || m.Executable() && !bytes.Equal(now, original) {
				n++
			}
		}
	}
	return n, nil
}
