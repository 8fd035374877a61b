// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// Bounds of the headers.
const (
	maxSections = math.MaxUint16
	maxSegments = 256
	maxPath     = 4096     // bytes of a path or library name
	maxNames    = 16 << 20 // bytes of section names
)

var (
	// ErrNotELF: the file is not an ELF file.
	ErrNotELF = errors.New("not an ELF file")
	// ErrUnsupportedELF: an ELF file, but not a 64-bit little-endian program
	// or library for x86-64 or arm64.
	ErrUnsupportedELF = errors.New("not a 64-bit little-endian x86-64 or arm64 program or library")
)

// image gives bounded access to the parts of an ELF file. The header structs
// are those of debug/elf; its reader is not used because what it allocates
// for section names is bounded by the product of two of the file's sizes.
type image struct {
	r        io.ReaderAt
	size     uint64
	header   elf.Header64
	arch     probe.Arch
	segments []elf.Prog64
	sections []elf.Section64
	names    []byte // section names
}

// openImage reads the headers.
func openImage(r io.ReaderAt, size int64) (*image, error) {
	if size < 0 {
		return nil, fmt.Errorf("%w: size %d", ErrNotELF, size)
	}
	f := &image{r: r, size: uint64(size)}
	ident, err := f.bytes(0, elf.EI_NIDENT, elf.EI_NIDENT)
	if errors.Is(err, io.ErrUnexpectedEOF) || (err == nil && string(ident[:4]) != elf.ELFMAG) {
		return nil, ErrNotELF
	}
	if err != nil {
		return nil, err
	}
	if elf.Class(ident[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("%w: %v, %v", ErrUnsupportedELF,
			elf.Class(ident[elf.EI_CLASS]), elf.Data(ident[elf.EI_DATA]))
	}
	if err := f.decode(0, &f.header); err != nil {
		return nil, fmt.Errorf("read ELF header: %w", err)
	}
	switch elf.Machine(f.header.Machine) {
	case elf.EM_X86_64:
		f.arch = probe.AMD64
	case elf.EM_AARCH64:
		f.arch = probe.ARM64
	default:
		return nil, fmt.Errorf("%w: %v", ErrUnsupportedELF, elf.Machine(f.header.Machine))
	}
	if t := elf.Type(f.header.Type); t != elf.ET_EXEC && t != elf.ET_DYN {
		return nil, fmt.Errorf("%w: %v", ErrUnsupportedELF, t)
	}
	if err := f.readSegments(); err != nil {
		return nil, fmt.Errorf("read program headers: %w", err)
	}
	if err := f.readSections(); err != nil {
		return nil, fmt.Errorf("read section headers: %w", err)
	}
	return f, nil
}

// bytes reads n bytes at off into new memory. It fails before allocating when
// they exceed limit or the file.
func (f *image) bytes(off, n, limit uint64) ([]byte, error) {
	return f.bytesInto(nil, off, n, limit)
}

// bytesInto is bytes, into buf where it is large enough.
func (f *image) bytesInto(buf []byte, off, n, limit uint64) ([]byte, error) {
	if n > limit {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", n, limit)
	}
	if off > f.size || n > f.size-off {
		return nil, fmt.Errorf("%d bytes at offset %#x end beyond the file: %w", n, off, io.ErrUnexpectedEOF)
	}
	if uint64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	// A ReaderAt may report EOF together with the last byte.
	if got, err := f.r.ReadAt(buf[:n], int64(off)); uint64(got) < n {
		return nil, fmt.Errorf("read %d bytes at offset %#x: %w", n, off, err)
	}
	return buf[:n], nil
}

// decode reads a fixed-size structure.
func (f *image) decode(off uint64, v any) error {
	n := uint64(binary.Size(v))
	b, err := f.bytes(off, n, n)
	if err != nil {
		return err
	}
	_, err = binary.Decode(b, binary.LittleEndian, v)
	return err
}

func (f *image) readSegments() error {
	h := &f.header
	if h.Phoff == 0 || h.Phnum == 0 {
		return nil
	}
	var p elf.Prog64
	if int(h.Phentsize) != binary.Size(p) {
		return fmt.Errorf("entry size %d, want %d", h.Phentsize, binary.Size(p))
	}
	if h.Phnum > maxSegments {
		return fmt.Errorf("%d entries, more than the limit of %d", h.Phnum, maxSegments)
	}
	f.segments = make([]elf.Prog64, h.Phnum)
	b, err := f.bytes(h.Phoff, uint64(h.Phnum)*uint64(h.Phentsize), math.MaxUint32)
	if err == nil {
		_, err = binary.Decode(b, binary.LittleEndian, f.segments)
	}
	return err
}

func (f *image) readSections() error {
	h := &f.header
	if h.Shoff == 0 {
		return nil
	}
	var first elf.Section64
	if int(h.Shentsize) != binary.Size(first) {
		return fmt.Errorf("entry size %d, want %d", h.Shentsize, binary.Size(first))
	}
	// With 0xff00 sections or more, the first header holds the numbers that
	// the file header has no room for.
	if err := f.decode(h.Shoff, &first); err != nil {
		return err
	}
	num, names := uint64(h.Shnum), uint32(h.Shstrndx)
	if num == 0 {
		num = first.Size
	}
	if elf.SectionIndex(names) == elf.SHN_XINDEX {
		names = first.Link
	}
	if num > maxSections {
		return fmt.Errorf("%d entries, more than the limit of %d", num, maxSections)
	}
	b, err := f.bytes(h.Shoff, num*uint64(h.Shentsize), math.MaxUint32)
	if err != nil {
		return err
	}
	f.sections = make([]elf.Section64, num)
	if _, err := binary.Decode(b, binary.LittleEndian, f.sections); err != nil {
		return err
	}
	if uint64(names) >= num {
		return fmt.Errorf("section %d with the names is not among the %d sections", names, num)
	}
	f.names, err = f.bytes(f.sections[names].Off, f.sections[names].Size, maxNames)
	return err
}

// named says whether a section has a name. It compares in place: names of
// hostile files can overlap and be long.
func (f *image) named(s *elf.Section64, name string) bool {
	if uint64(s.Name)+uint64(len(name)) >= uint64(len(f.names)) {
		return false
	}
	b := f.names[s.Name:]
	return string(b[:len(name)]) == name && b[len(name)] == 0
}

// offset translates a virtual address to a file offset. The address must lie,
// with n bytes, in the part of a loaded segment that comes from the file.
func (f *image) offset(addr, n uint64, accept func(elf.ProgFlag) bool) (uint64, bool) {
	for i := range f.segments {
		p := &f.segments[i]
		if elf.ProgType(p.Type) != elf.PT_LOAD || !accept(elf.ProgFlag(p.Flags)) {
			continue
		}
		if off := addr - p.Vaddr; addr >= p.Vaddr && off < p.Filesz && n <= p.Filesz-off {
			if off+p.Off < off || off+p.Off > f.size || n > f.size-(off+p.Off) {
				continue
			}
			return off + p.Off, true
		}
	}
	return 0, false
}

// mapped says whether n bytes at a virtual address are loaded, from the file
// or as zeroes.
func (f *image) mapped(addr, n uint64) bool {
	for i := range f.segments {
		p := &f.segments[i]
		off := addr - p.Vaddr
		if elf.ProgType(p.Type) == elf.PT_LOAD && addr >= p.Vaddr && off < p.Memsz && n <= p.Memsz-off {
			return true
		}
	}
	return false
}

// cstring reads a NUL-terminated string at an offset, at most maxPath bytes.
func (f *image) cstring(off uint64) (string, bool) {
	if off >= f.size {
		return "", false
	}
	b, err := f.bytes(off, min(maxPath, f.size-off), maxPath)
	if err != nil {
		return "", false
	}
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return "", false
	}
	return string(b[:end]), true
}

// fixed says whether the file is loaded at the addresses it states.
func (f *image) fixed() bool { return elf.Type(f.header.Type) == elf.ET_EXEC }
