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

// Hook is the function that a dynamic linker calls when its list of libraries
// changes.
type Hook struct {
	Module *Module // that holds it
	Offset uint64  // in its file
	// List is how far behind the function the list is in memory (struct r_debug of
	// link.h); 0 when it does not belong to the same file.
	List int64
}

// DebuggerHook returns the function that a process's dynamic linker calls when
// its list of libraries changes, as it tells debuggers (r_brk, which DT_DEBUG of
// the executable leads to). Its module is one of those given. The linker only
// tells once it has loaded the program. A context that is over ends the wait for
// memory that does not come in.
func (p *Process) DebuggerHook(ctx context.Context, modules []Module) (Hook, error) {
	aux, err := p.auxv()
	if err != nil {
		return Hook{}, err
	}
	told, err := await.Do(ctx, func(context.Context) (debug, error) { return p.debugHook(aux) }, nil)
	if err != nil {
		return Hook{}, fmt.Errorf("debugger hook of process %d: %w", p.PID, err)
	}
	m := moduleAt(modules, told.hook)
	if m == nil {
		return Hook{}, fmt.Errorf("debugger hook of process %d: it is in no file", p.PID)
	}
	for _, at := range m.Mappings {
		if !at.Executable() || told.hook < at.Start || told.hook >= at.End {
			continue
		}
		h := Hook{Module: m, Offset: told.hook - at.Start + at.Offset}
		if m.extendsTo(told.list) && (moduleAt(modules, told.list) == nil || moduleAt(modules, told.list) == m) {
			h.List = int64(told.list - told.hook)
		}
		return h, nil
	}
	return Hook{}, fmt.Errorf("debugger hook of process %d: it is no code", p.PID)
}

// maxZeroed bounds the data behind a dynamic linker's mappings that its file does
// not have, as it is zero at first.
const maxZeroed = 1 << 20

// extendsTo reports whether an address is among a module's mappings or just
// behind them.
func (m *Module) extendsTo(address uint64) bool {
	return address >= m.Mappings[0].Start && address < m.Mappings[len(m.Mappings)-1].End+maxZeroed
}

// debug is what a linker tells debuggers, as addresses in the process.
type debug struct{ list, hook uint64 }

// debugHook reads it in the process's memory.
func (p *Process) debugHook(aux map[uint64]uint64) (debug, error) {
	mem, err := p.openMemory("mem")
	if err != nil {
		return debug{}, err
	}
	defer mem.Close()
	dynamic, err := dynamicSection(mem, aux[auxPhdr], aux[auxPhnum])
	if err != nil {
		return debug{}, err
	}
	for ; len(dynamic) >= 16; dynamic = dynamic[16:] {
		if elf.DynTag(binary.LittleEndian.Uint64(dynamic)) != elf.DT_DEBUG {
			continue
		}
		list := binary.LittleEndian.Uint64(dynamic[8:])
		b, err := memory(mem, list, debugSize)
		if err != nil {
			return debug{}, fmt.Errorf("the linker has not said yet: %w", err)
		}
		return debug{list, binary.LittleEndian.Uint64(b[16:])}, nil
	}
	return debug{}, errors.New("the executable has no place for it (DT_DEBUG)")
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
