// SPDX-License-Identifier: Apache-2.0

package human

import (
	"unicode"
	"unicode/utf8"
)

// Ellipsis marks where a string was cut. It is one column wide.
const Ellipsis = "…"

// wide are the characters that take two columns: East Asian Width W and F
// (Unicode Standard Annex 11), in ranges that may include unassigned ones.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, {Lo: 0x231a, Hi: 0x231b, Stride: 1},
		{Lo: 0x23e9, Hi: 0x23ec, Stride: 1}, {Lo: 0x25fd, Hi: 0x25fe, Stride: 1},
		{Lo: 0x2614, Hi: 0x2615, Stride: 1}, {Lo: 0x2648, Hi: 0x2653, Stride: 1},
		{Lo: 0x26aa, Hi: 0x26ab, Stride: 1}, {Lo: 0x26bd, Hi: 0x26be, Stride: 1},
		{Lo: 0x2705, Hi: 0x2705, Stride: 1}, {Lo: 0x270a, Hi: 0x270b, Stride: 1},
		{Lo: 0x2728, Hi: 0x2728, Stride: 1}, {Lo: 0x274c, Hi: 0x274c, Stride: 1},
		{Lo: 0x2753, Hi: 0x2755, Stride: 1}, {Lo: 0x2795, Hi: 0x2797, Stride: 1},
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1}, {Lo: 0x3041, Hi: 0x4dbf, Stride: 1},
		{Lo: 0x4e00, Hi: 0xa4cf, Stride: 1}, {Lo: 0xa960, Hi: 0xa97f, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1}, {Lo: 0xf900, Hi: 0xfaff, Stride: 1},
		{Lo: 0xfe30, Hi: 0xfe6f, Stride: 1}, {Lo: 0xff00, Hi: 0xff60, Stride: 1},
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x16fe0, Hi: 0x18aff, Stride: 1}, {Lo: 0x1aff0, Hi: 0x1b2ff, Stride: 1},
		{Lo: 0x1f000, Hi: 0x1f02f, Stride: 1}, {Lo: 0x1f0a0, Hi: 0x1f0ff, Stride: 1},
		{Lo: 0x1f18e, Hi: 0x1f19a, Stride: 1}, {Lo: 0x1f200, Hi: 0x1f64f, Stride: 1},
		{Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1}, {Lo: 0x1f7e0, Hi: 0x1f7ff, Stride: 1},
		{Lo: 0x1f900, Hi: 0x1f9ff, Stride: 1}, {Lo: 0x1fa70, Hi: 0x1faff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

// RuneWidth is the number of terminal columns of a visible character: 0 for
// combining marks, 2 for East Asian wide ones, else 1.
func RuneWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// Width is the number of terminal columns of an escaped string. Colour codes
// are not escaped strings: measure before colouring.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += RuneWidth(r)
	}
	return n
}

// WidthOf is Width for bytes.
func WidthOf(b []byte) int {
	n := 0
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		n += RuneWidth(r)
		b = b[size:]
	}
	return n
}

// AppendFit appends s escaped and cut to at most width columns, with an ellipsis
// where it was cut. A width below 1 counts as 1. It reads no more of s than it
// may need.
func AppendFit(dst []byte, s string, width int) []byte { return appendFit(dst, s, width) }

// AppendFitBytes is AppendFit for bytes.
func AppendFitBytes(dst, s []byte, width int) []byte { return appendFit(dst, s, width) }

func appendFit[T string | []byte](dst []byte, s T, width int) []byte {
	width = max(width, 1)
	from := len(dst)
	// A column holds at most one character and a few marks of up to four
	// bytes; this is more than fits, whatever it is.
	if most := (width + 2) * utf8.UTFMax * (maxMarks + 1); len(s) > most {
		s = s[:most]
	}
	dst = appendEscaped(dst, s)
	columns, cut := 0, from
	for i := from; i < len(dst); {
		r, n := utf8.DecodeRune(dst[i:])
		w := RuneWidth(r)
		if columns+w > width {
			return append(dst[:cut], Ellipsis...)
		}
		columns += w
		i += n
		if columns < width { // an ellipsis still fits behind
			cut = i
		}
	}
	return dst
}

// Fit is AppendFit for a string.
func Fit(s string, width int) string { return string(AppendFit(nil, s, width)) }

// AppendPad appends spaces until what was appended since from is width columns
// wide.
func AppendPad(dst []byte, from, width int) []byte {
	for n := WidthOf(dst[from:]); n < width; n++ {
		dst = append(dst, ' ')
	}
	return dst
}
