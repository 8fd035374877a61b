// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of the symbol look-up, chosen so that a hostile file stays within a
// fraction of a second and of 100 MB.
const (
	maxWantedSymbols = 4096
	maxSymbolName    = 512
	maxStringTable   = 24 << 20
	maxSymbolTables  = 2 // .symtab and .dynsym
	maxSymbolTable   = 48 << 20
	symbolSize       = 24 // Elf64_Sym
)

var (
	errAmbiguous    = errors.New("the file has several symbols of this name")
	errNoSymbol     = errors.New("the file has no such symbol (it may be stripped; install its debug symbols or use another argument)")
	errSymbolsLarge = errors.New("the file's symbol table is too large to search")
)

// symbol is what the tables say about one wanted name.
type symbol struct {
	addr      uint64
	found     bool
	ambiguous bool
}

// symbolTable holds the addresses of the wanted symbols only: whole tables
// can be larger than the memory this package allows itself.
type symbolTable struct {
	wanted map[string]*symbol
	asked  int    // look-ups so far
	names  []byte // the string table read last
	err    error  // why no answer of this table can be trusted
}

// want notes a name and says that it is not known yet.
func (t *symbolTable) want(name string) (uint64, error) {
	t.asked++
	if len(name) <= maxSymbolName && len(t.wanted) < maxWantedSymbols {
		t.wanted[name] = &symbol{}
	}
	return 0, errNoSymbol
}

// lookup answers from a loaded table.
func (t *symbolTable) lookup(name string) (uint64, error) {
	s := t.wanted[name]
	switch {
	case s != nil && s.ambiguous:
		return 0, errAmbiguous
	case t.err != nil:
		// One table could not be read, and it might hold a second symbol of
		// this name: say so instead of guessing.
		return 0, t.err
	case s == nil || !s.found:
		return 0, errNoSymbol
	}
	return s.addr, nil
}

// load fills in the wanted names from .symtab and .dynsym. A name that has
// two addresses is ambiguous. In a file without .symtab a name is taken from
// .dynsym: a stripped static variable that shares the name of an exported one
// cannot be told from it.
func (t *symbolTable) load(f *image) {
	tables := 0
	for i := range f.sections {
		s := &f.sections[i]
		if typ := elf.SectionType(s.Type); typ != elf.SHT_SYMTAB && typ != elf.SHT_DYNSYM {
			continue
		}
		if tables++; tables > maxSymbolTables {
			t.err = errors.New("the file has more than two symbol tables")
			return
		}
		if err := t.loadTable(f, s); err != nil {
			t.err = err
			return
		}
	}
}

func (t *symbolTable) loadTable(f *image, s *elf.Section64) error {
	if int(s.Link) >= len(f.sections) {
		return errors.New("the file's symbol table has no string table")
	}
	str := &f.sections[s.Link]
	if s.Size > maxSymbolTable || str.Size > maxStringTable {
		return errSymbolsLarge
	}
	var err error
	if t.names, err = f.bytesInto(t.names, str.Off, str.Size, maxStringTable); err != nil {
		return fmt.Errorf("read symbol names: %w", err)
	}
	var b []byte
	const chunk = symbolSize << 12
	for off := uint64(0); off < s.Size; off += chunk {
		if b, err = f.bytesInto(b, s.Off+off, min(chunk, s.Size-off), chunk); err != nil {
			return fmt.Errorf("read symbols: %w", err)
		}
		for rest := b; len(rest) >= symbolSize; rest = rest[symbolSize:] {
			t.add(rest)
		}
	}
	return nil
}

// add takes one Elf64_Sym into account.
func (t *symbolTable) add(sym []byte) {
	off := binary.LittleEndian.Uint32(sym)
	if uint64(off) >= uint64(len(t.names)) || off == 0 {
		return
	}
	name := t.names[off:min(uint64(len(t.names)), uint64(off)+maxSymbolName+1)]
	end := bytes.IndexByte(name, 0)
	if end <= 0 {
		return
	}
	w := t.wanted[string(name[:end])]
	if w == nil {
		return
	}
	shndx := elf.SectionIndex(binary.LittleEndian.Uint16(sym[6:]))
	switch elf.SymType(sym[4] & 0xf) {
	case elf.STT_NOTYPE, elf.STT_OBJECT, elf.STT_FUNC, elf.STT_COMMON:
	default:
		return // sections, files and thread-local offsets are not addresses
	}
	if shndx == elf.SHN_UNDEF || shndx == elf.SHN_ABS || shndx == elf.SHN_COMMON {
		return
	}
	addr := binary.LittleEndian.Uint64(sym[8:])
	if w.found && w.addr != addr {
		w.ambiguous = true
	}
	w.addr, w.found = addr, true
}
