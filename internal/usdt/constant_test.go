// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Read-only segments are one range when no other page can be between them.
func TestConstantRanges(t *testing.T) {
	for name, c := range map[string]struct{ add, want []Range }{
		"one":                 {[]Range{{0, 0xb20}}, []Range{{0, 0xb20}}},
		"pages side by side":  {[]Range{{0, 0xb20}, {0x1000, 0x1b6d}, {0x2000, 0x22d8}}, []Range{{0, 0x22d8}}},
		"whole pages":         {[]Range{{0, 0x1000}, {0x1000, 0x2000}}, []Range{{0, 0x2000}}},
		"a page between":      {[]Range{{0, 0xb20}, {0x2000, 0x2001}}, []Range{{0, 0xb20}, {0x2000, 0x2001}}},
		"not in order":        {[]Range{{0x2000, 0x3000}, {0x1000, 0x2000}}, []Range{{0x2000, 0x3000}, {0x1000, 0x2000}}},
		"one within the last": {[]Range{{0, 0x3000}, {0x1000, 0x2000}}, []Range{{0, 0x3000}, {0x1000, 0x2000}}},
	} {
		t.Run(name, func(t *testing.T) {
			var f File
			for _, r := range c.add {
				f.addConstant(r)
			}
			if diff := cmp.Diff(c.want, f.Constant); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConstantPages(t *testing.T) {
	text := Segment{Range{0x0, 0x1800}, 0, false}
	strings := Segment{Range{0x2000, 0x2100}, 0x2000, false}
	data := func(start, end uint64) Segment { return Segment{Range{start, end}, start - 0x1000, true} }
	for _, c := range []struct {
		name     string
		segments []Segment
		want     Range
	}{
		{"none", nil, Range{}},
		{"writable alone", []Segment{data(0, 0x5000)}, Range{}},
		{"up to the last page", []Segment{text, strings, data(0x3f00, 0x5000)}, Range{0, 0x3000}},
		{"data in the last page", []Segment{text, strings, data(0x2f00, 0x5000)}, Range{0, 0x2000}},
		{"data before it", []Segment{data(0, 0x800), {Range{0x900, 0x2100}, 0x900, false}}, Range{0x1000, 0x3000}},
		{"nothing but a shared page", []Segment{data(0, 0x800), {Range{0x900, 0xa00}, 0x900, false}}, Range{}},
		{"the larger of two", []Segment{text, data(0x8000, 0x9000), {Range{0x10000, 0x20000}, 0x9000, false}}, Range{0x10000, 0x20000}},
	} {
		f := &File{Segments: c.segments}
		for _, s := range c.segments {
			if !s.Writable {
				f.addConstant(s.Range)
			}
		}
		if got := f.ConstantPages(); got.End-got.Start != c.want.End-c.want.Start || got.End > got.Start && got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

func TestFileOffset(t *testing.T) {
	f := &File{Segments: []Segment{{Range{0x1000, 0x1800}, 0x200, false}, {Range{0x3000, 0x3010}, 0xa00, true}}}
	for _, c := range []struct {
		addr, offset, left uint64
		ok                 bool
	}{
		{0x1000, 0x200, 0x800, true}, {0x17ff, 0x9ff, 1, true}, {0x1800, 0, 0, false}, {0xfff, 0, 0, false},
		{0x3008, 0xa08, 8, true}, {1 << 63, 0, 0, false},
	} {
		if offset, left, ok := f.FileOffset(c.addr); offset != c.offset || left != c.left || ok != c.ok {
			t.Errorf("%#x: %#x, %d bytes, %v", c.addr, offset, left, ok)
		}
	}
}
