// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/phasetrace/phasetrace/internal/await"
)

// Bounds of what is read of a process's memory.
const (
	maxPhdrs       = 256
	maxDynamicSize = 64 << 10
	phdrSize       = 56 // Elf64_Phdr
	debugSize      = 40 // struct r_debug of link.h, on 64 bits
)

// DebuggerHook returns the function that a process's dynamic linker calls when
// its list of libraries changes, as it announces to debuggers (r_brk, found
// through DT_DEBUG of the executable): the module that holds it, one of those
// given, and the offset in its file. The linker does so once it has loaded the
// program, not before. The end of the context ends the wait for memory that does
// not arrive.
func (p *Process) DebuggerHook(ctx context.Context, modules []Module) (*Module, uint64, error) {
	aux, err := p.auxv()
	if err != nil {
		return nil, 0, err
	}
	address, err := await.Do(ctx, func(context.Context) (uint64, error) { return p.debugHook(aux) }, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("debugger hook of process %d: %w", p.PID, err)
	}
	m := moduleAt(modules, address)
	if m == nil {
		return nil, 0, fmt.Errorf("debugger hook of process %d: it is in no file", p.PID)
	}
	for _, at := range m.Mappings {
		if at.Executable() && address >= at.Start && address < at.End {
			return m, address - at.Start + at.Offset, nil
		}
	}
	return nil, 0, fmt.Errorf("debugger hook of process %d: it is no code", p.PID)
}

// debugHook reads r_brk in the process's memory.
func (p *Process) debugHook(aux map[uint64]uint64) (uint64, error) {
	mem, err := p.openMemory("mem")
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	dynamic, err := dynamicSection(mem, aux[auxPhdr], aux[auxPhnum])
	if err != nil {
		return 0, err
	}
	for ; len(dynamic) >= 16; dynamic = dynamic[16:] {
		if elf.DynTag(binary.LittleEndian.Uint64(dynamic)) != elf.DT_DEBUG {
			continue
		}
		debug, err := memory(mem, binary.LittleEndian.Uint64(dynamic[8:]), debugSize)
		if err != nil {
			return 0, fmt.Errorf("the linker has not said yet: %w", err)
		}
		return binary.LittleEndian.Uint64(debug[16:]), nil
	}
	return 0, errors.New("the executable has no place for it (DT_DEBUG)")
}

// dynamicSection reads the executable's dynamic section, found by its program
// headers.
func dynamicSection(mem io.ReaderAt, phdrs, n uint64) ([]byte, error) {
	b, err := memory(mem, phdrs, min(n, maxPhdrs)*phdrSize)
	if err != nil {
		return nil, fmt.Errorf("read the program headers: %w", err)
	}
	headers := make([]elf.Prog64, len(b)/phdrSize)
	if _, err := binary.Decode(b, binary.LittleEndian, headers); err != nil {
		return nil, err
	}
	var self, dynamic *elf.Prog64
	for i := range headers {
		switch elf.ProgType(headers[i].Type) {
		case elf.PT_PHDR:
			self = &headers[i]
		case elf.PT_DYNAMIC:
			dynamic = &headers[i]
		}
	}
	if self == nil || dynamic == nil {
		return nil, errors.New("the executable has no dynamic section")
	}
	bias := phdrs - self.Vaddr
	if b, err = memory(mem, bias+dynamic.Vaddr, min(dynamic.Memsz, maxDynamicSize)); err != nil {
		return nil, fmt.Errorf("read the dynamic section: %w", err)
	}
	return b, nil
}

// memory reads n bytes at an address.
func memory(mem io.ReaderAt, address, n uint64) ([]byte, error) {
	b := make([]byte, n)
	if int64(address) <= 0 {
		return nil, errors.New("no address")
	}
	if _, err := mem.ReadAt(b, int64(address)); err != nil {
		return nil, err
	}
	return b, nil
}
