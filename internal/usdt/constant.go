// SPDX-License-Identifier: Apache-2.0

package usdt

// ConstantPages returns the largest stretch of whole pages that are mapped from the
// file and cannot be written: what is in there is what the file has, as long as
// nobody writes to it. Empty if there is none. Pages that a writable segment begins
// or ends in are left out: it is mapped over them.
func (f *File) ConstantPages() Range {
	var best Range
	for _, r := range f.Constant {
		r = Range{r.Start &^ (pageSize - 1), (r.End + pageSize - 1) &^ (pageSize - 1)}
		for _, s := range f.Segments {
			if s.Writable {
				r = r.without(Range{s.Start &^ (pageSize - 1), (s.End + pageSize - 1) &^ (pageSize - 1)})
			}
		}
		if r.End > r.Start && r.End-r.Start > best.End-best.Start {
			best = r
		}
	}
	return best
}

// without returns the larger part of a range that is left without another.
func (r Range) without(o Range) Range {
	if o.End <= r.Start || o.Start >= r.End {
		return r
	}
	before, after := Range{r.Start, max(r.Start, o.Start)}, Range{min(r.End, o.End), r.End}
	if before.End-before.Start >= after.End-after.Start {
		return before
	}
	return after
}

// FileOffset returns where in the file an address of a loaded segment is, and how
// many bytes of the segment follow; false for an address in none.
func (f *File) FileOffset(addr uint64) (offset, left uint64, ok bool) {
	for _, s := range f.Segments {
		if addr >= s.Start && addr < s.End {
			return s.Offset + addr - s.Start, s.End - addr, true
		}
	}
	return 0, 0, false
}
