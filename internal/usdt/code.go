// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"cmp"
	"debug/elf"
	"slices"
)

// codeRanges are the addresses of the sections with code, in order and apart.
type codeRanges []Range

func (f *image) code() codeRanges {
	var all codeRanges
	for i := range f.sections {
		s := &f.sections[i]
		const loaded = elf.SHF_ALLOC | elf.SHF_EXECINSTR
		if elf.SectionFlag(s.Flags)&loaded == loaded && s.Addr+s.Size > s.Addr {
			all = append(all, Range{s.Addr, s.Addr + s.Size})
		}
	}
	slices.SortFunc(all, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	apart := all[:0]
	for _, r := range all {
		if n := len(apart); n > 0 && r.Start <= apart[n-1].End {
			apart[n-1].End = max(apart[n-1].End, r.End)
			continue
		}
		apart = append(apart, r)
	}
	return apart
}

// hold says whether an address is one of code. A file whose section headers
// name no code holds any.
func (c codeRanges) hold(addr uint64) bool {
	i, _ := slices.BinarySearchFunc(c, addr, func(r Range, a uint64) int {
		if r.End <= a {
			return -1
		}
		return 1
	})
	return len(c) == 0 || i < len(c) && c[i].Start <= addr
}

// dropped says whether a note's location is what lld and mold leave when
// --gc-sections has dropped the note's function: its place within that
// function, an address below all code. There may be a segment there, the ELF
// header among it.
func (c codeRanges) dropped(location uint64) bool {
	return len(c) > 0 && location < c[0].Start
}
