// SPDX-License-Identifier: Apache-2.0

package human

import "unicode/utf8"

// Columns is the number of terminal columns of escaped text that may have colour
// codes in it.
func Columns(b []byte) int {
	n := 0
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf && b[i] != 0x1b {
			n++
			i++
			continue
		}
		if size := code(b[i:]); size > 0 {
			i += size
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		n += RuneWidth(r)
		i += size
	}
	return n
}

// code is the length of the colour code that b begins with, 0 for none. Escaped
// text has no other ESC.
func code(b []byte) int {
	if len(b) == 0 || b[0] != 0x1b {
		return 0
	}
	for i, c := range b {
		if c == 'm' {
			return i + 1
		}
	}
	return len(b)
}

// AppendFolded appends a line, without its line end, broken between words so that
// each part has at most width columns; the parts from the second on are indented.
// Text that has to be copied stays whole: a word that is longer than a part is not
// broken. A width below 1 breaks nothing.
func AppendFolded(dst, line []byte, width, indent int) []byte {
	if width < 1 || Columns(line) <= width {
		return append(dst, line...)
	}
	indent = min(indent, width/2)
	columns, words := 0, false // of this part
	for len(line) > 0 {
		space, word := 0, 0
		for space < len(line) && line[space] == ' ' {
			space++
		}
		for word = space; word < len(line) && line[word] != ' '; word++ {
		}
		n := Columns(line[space:word])
		if words && columns+space+n > width {
			dst = append(dst, '\n')
			dst = appendSpaces(dst, indent)
			columns = indent
		} else {
			dst = appendSpaces(dst, space)
			columns += space
		}
		dst = append(dst, line[space:word]...)
		columns, words = columns+n, true
		line = line[word:]
	}
	return dst
}

// AppendCut appends a line, without its line end, cut to at most width columns,
// with an ellipsis where it was cut. Colour codes stay whole and in pairs. A width
// below 1 cuts nothing.
func AppendCut(dst, line []byte, width int) []byte {
	if width < 1 || Columns(line) <= width {
		return append(dst, line...)
	}
	columns, cut := 0, false
	for i := 0; i < len(line); {
		size := code(line[i:])
		if size == 0 {
			r, n := utf8.DecodeRune(line[i:])
			w := RuneWidth(r)
			switch {
			case cut:
			case columns+w >= width:
				dst, cut = append(dst, Ellipsis...), true
			default:
				dst, columns = append(dst, line[i:i+n]...), columns+w
			}
			i += n
			continue
		}
		dst = append(dst, line[i:i+size]...)
		i += size
	}
	return dst
}
