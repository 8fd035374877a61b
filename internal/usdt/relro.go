// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"debug/elf"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// What follows is about how Linux raises a semaphore: in the writable mapping
// of its file page that has the lowest address (find_ref_ctr_vma,
// kernel/events/uprobes.c). Linkers may map that page twice: lld and mold put
// RELRO, the data that is write-protected once it is relocated, and the other
// data into segments of their own, the end of the one and the beginning of the
// other on one page of the file.

// maxPage bounds the page size that is reckoned with, in bytes: arm64 kernels
// have pages of 4, 16 or 64 KiB.
const maxPage = 64 << 10

// pageOf is the largest page that the file can be mapped by: segments are
// aligned to it.
func (f *image) pageOf(p *elf.Prog64) uint64 {
	if f.arch == probe.AMD64 || p.Align < pageSize || p.Align&(p.Align-1) != 0 {
		return pageSize
	}
	return min(p.Align, maxPage)
}

// shadowed says whether another writable segment is mapped, at a lower address,
// from the file page of a semaphore at an address and an offset of the file.
func (f *image) shadowed(semaphore, refCtr uint64) bool {
	for i := range f.segments {
		p := &f.segments[i]
		if elf.ProgType(p.Type) != elf.PT_LOAD || elf.ProgFlag(p.Flags)&elf.PF_W == 0 || p.Filesz == 0 {
			continue
		}
		page := f.pageOf(p)
		first, last := p.Off/page, (p.Off+p.Filesz-1)/page
		own := semaphore >= p.Vaddr && semaphore-p.Vaddr < p.Memsz
		if !own && p.Vaddr < semaphore && first <= refCtr/page && refCtr/page <= last {
			return true
		}
	}
	return false
}

// start returns the file offset for File.Start; initialiser is DT_INIT, 0 for
// none.
func (f *image) start(file *File, initialiser uint64) uint64 {
	at := f.header.Entry
	switch {
	case file.Shared:
		at = initialiser
	case file.Static:
		at = f.initSection()
	}
	if at == 0 {
		return 0
	}
	offset, ok := f.offset(at, 1, func(f elf.ProgFlag) bool { return f&elf.PF_X != 0 })
	if !ok {
		return 0
	}
	return offset
}

// initSection returns the address of .init, 0 for none.
func (f *image) initSection() uint64 {
	for i := range f.sections {
		s := &f.sections[i]
		if elf.SectionFlag(s.Flags)&elf.SHF_EXECINSTR != 0 && f.named(s, ".init") {
			return s.Addr
		}
	}
	return 0
}
