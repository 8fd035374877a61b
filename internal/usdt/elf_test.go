// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
)

// testELF writes small ELF files for tests: one executable segment that maps
// the file at address codeBase, one data segment at dataBase, both starting
// at file offset 0, so that address minus base is the file offset.
type testELF struct {
	machine  elf.Machine
	typ      elf.Type
	code     []byte // at codeAt
	notes    []byte // .note.stapsdt
	base     uint64 // address of .stapsdt.base, 0 for no such section
	symbols  []elf.Sym64
	names    string // .strtab
	dynamic  []elf.Dyn64
	sections []testSection
}

type testSection struct {
	name string
	elf.Section64
	data []byte
}

const (
	codeBase = 0x400000
	dataBase = 0x600000
	codeAt   = 0x200 // file offset of the code
	dataAt   = 0x240 // file offset that tests use for semaphores and variables
)

// bytes returns the file.
func (e *testELF) bytes() []byte {
	if e.machine == 0 {
		e.machine = elf.EM_X86_64
	}
	if e.typ == 0 {
		e.typ = elf.ET_EXEC
	}
	ss := []testSection{{}}
	if e.notes != nil {
		ss = append(ss, testSection{".note.stapsdt", elf.Section64{Type: uint32(elf.SHT_NOTE)}, e.notes})
	}
	if e.base != 0 {
		ss = append(ss, testSection{".stapsdt.base", elf.Section64{Type: uint32(elf.SHT_PROGBITS), Addr: e.base}, []byte{0}})
	}
	if e.symbols != nil {
		var b bytes.Buffer
		write(&b, e.symbols)
		ss = append(ss, testSection{".symtab", elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: uint32(len(ss) + 1)}, b.Bytes()},
			testSection{".strtab", elf.Section64{Type: uint32(elf.SHT_STRTAB)}, []byte(e.names)})
	}
	ss = append(ss, e.sections...)
	names := []byte{0}
	for i := range ss {
		ss[i].Name = uint32(len(names))
		names = append(append(names, ss[i].name...), 0)
	}
	ss = append(ss, testSection{"", elf.Section64{Type: uint32(elf.SHT_STRTAB)}, names})

	file := bytes.NewBuffer(make([]byte, dataAt+64))
	copy(file.Bytes()[codeAt:], e.code)
	for i := range ss {
		if len(ss[i].data) > 0 {
			ss[i].Off, ss[i].Size = uint64(file.Len()), uint64(len(ss[i].data))
		}
		file.Write(ss[i].data)
	}
	dynamic := elf.Prog64{Type: uint32(elf.PT_NULL)}
	if e.dynamic != nil {
		dynamic = elf.Prog64{Type: uint32(elf.PT_DYNAMIC), Off: uint64(file.Len()), Filesz: uint64(16 * len(e.dynamic))}
		write(file, e.dynamic)
	}
	shoff := uint64(file.Len())
	for i := range ss {
		write(file, ss[i].Section64)
	}
	h := elf.Header64{Type: uint16(e.typ), Machine: uint16(e.machine), Version: 1, Phoff: 64, Phentsize: 56, Phnum: 3,
		Shoff: shoff, Shentsize: 64, Shnum: uint16(len(ss)), Shstrndx: uint16(len(ss) - 1), Ehsize: 64}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	size := uint64(dataAt + 64)
	var head bytes.Buffer
	write(&head, h)
	write(&head, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: codeBase, Filesz: size, Memsz: size})
	write(&head, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Vaddr: dataBase, Filesz: size, Memsz: size + 4096})
	write(&head, dynamic)
	copy(file.Bytes(), head.Bytes())
	return file.Bytes()
}

func write(b *bytes.Buffer, v any) {
	if err := binary.Write(b, binary.LittleEndian, v); err != nil {
		panic(err)
	}
}

// sdtNote returns one note.
func sdtNote(location, base, semaphore uint64, provider, name, args string) []byte {
	return rawNote("stapsdt", 3, location, base, semaphore, provider+"\x00"+name+"\x00"+args+"\x00")
}

func rawNote(owner string, typ uint32, location, base, semaphore uint64, text string) []byte {
	var b bytes.Buffer
	write(&b, []uint32{uint32(len(owner) + 1), uint32(24 + len(text)), typ})
	b.WriteString(owner + strings.Repeat("\x00", int(align4(uint64(len(owner)+1)))-len(owner)))
	write(&b, []uint64{location, base, semaphore})
	b.WriteString(text + strings.Repeat("\x00", int(align4(uint64(len(text))))-len(text)))
	return b.Bytes()
}

// readBytes reads a file that is in memory.
func readBytes(b []byte) (*File, error) {
	return Read(bytes.NewReader(b), int64(len(b)))
}
