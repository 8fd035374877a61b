// SPDX-License-Identifier: Apache-2.0

package human

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks in a row are shown unchanged. More of them
// can cover the lines around.
const maxMarks = 3

// AppendEscaped appends s so that it is safe on a terminal and stays on one line:
// control characters, terminal escapes, bidirectional overrides, other invisible
// or unassigned characters and invalid UTF-8 become visible escapes (\n, \x1b,
// \u202e, \U000e0001; invalid bytes \xff). A backslash stays as it is, so the
// result is for reading, not for parsing.
func AppendEscaped(dst []byte, s string) []byte { return appendEscaped(dst, s) }

func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	plain, marks := 0, 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != 0x7f {
				i, marks = i+1, 0
				continue
			}
			dst = append(dst, s[plain:i]...)
			dst = appendControl(dst, c)
			i, marks = i+1, 0
			plain = i
			continue
		}
		r, n := decode(s[i:])
		if Visible(r) && !(r == utf8.RuneError && n == 1) {
			if !unicode.Is(unicode.M, r) {
				marks = 0
			} else if marks++; marks > maxMarks {
				dst = appendRune(append(dst, s[plain:i]...), r)
				plain = i + n
			}
			i += n
			continue
		}
		dst = append(dst, s[plain:i]...)
		if r == utf8.RuneError && n == 1 {
			dst = appendHex(append(dst, '\\', 'x'), uint32(c), 2)
		} else {
			dst = appendRune(dst, r)
		}
		i, marks = i+n, 0
		plain = i
	}
	return append(dst, s[plain:]...)
}

// decode is utf8.DecodeRune for either type, without allocation.
func decode[T string | []byte](s T) (rune, int) {
	var first [utf8.UTFMax]byte
	return utf8.DecodeRune(first[:copy(first[:], s)])
}

// Escape is AppendEscaped for a string. It returns s itself when nothing needs
// escaping.
func Escape(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }) < 0 {
		return s
	}
	return string(AppendEscaped(make([]byte, 0, len(s)+16), s))
}

// Visible reports whether a terminal shows the character as itself: it is
// printable and neither controls anything nor changes the direction of text.
func Visible(r rune) bool {
	return unicode.IsPrint(r) && !isFiller(r)
}

// isFiller finds characters that Unicode calls letters or marks and that show
// nothing: fillers, variation selectors and the like.
func isFiller(r rune) bool {
	switch {
	case r == 0x034f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x3164, r == 0xffa0, r == 0x2800:
		return true
	case r >= 0x180b && r <= 0x180f, r >= 0xe0100 && r <= 0xe01ef:
		return true
	}
	return false
}

func appendControl(dst []byte, c byte) []byte {
	switch c {
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return appendHex(append(dst, '\\', 'x'), uint32(c), 2)
}

func appendRune(dst []byte, r rune) []byte {
	if r > 0xffff {
		return appendHex(append(dst, '\\', 'U'), uint32(r), 8)
	}
	return appendHex(append(dst, '\\', 'u'), uint32(r), 4)
}

func appendHex(dst []byte, v uint32, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[v>>shift&0xf])
	}
	return dst
}
