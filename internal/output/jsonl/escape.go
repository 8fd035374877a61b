// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"unicode/utf8"

	"github.com/phasetrace/phasetrace/internal/output/human"
)

const hexDigits = "0123456789abcdef"

// plainASCII are the bytes that stand for themselves in a JSON string and are
// harmless on a terminal.
var plainASCII = func() (t [utf8.RuneSelf]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// AppendString appends s as a JSON string. Bytes of invalid UTF-8 become U+FFFD
// each, and U+FFFD is always written as its escape. Control characters, U+2028,
// U+2029 and whatever a terminal does not show as itself (such as bidirectional
// overrides) are written as \u escapes, so a line is one line everywhere and safe
// to look at. It decodes to the same string. It does not allocate when dst has
// room.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendInside(dst, s)
	return append(dst, '"')
}

// appendInside appends s escaped without the quotes.
func appendInside(dst []byte, s string) []byte {
	plain := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if plainASCII[c] {
				i++
				continue
			}
			dst = append(dst, s[plain:i]...)
			dst = appendEscape(dst, rune(c))
			i++
			plain = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError && human.Visible(r) {
			i += n
			continue
		}
		dst = append(dst, s[plain:i]...)
		dst = appendEscape(dst, r)
		i += n
		plain = i
	}
	return append(dst, s[plain:]...)
}

func appendEscape(dst []byte, r rune) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r == '\n':
		return append(dst, '\\', 'n')
	case r == '\r':
		return append(dst, '\\', 'r')
	case r == '\t':
		return append(dst, '\\', 't')
	case r > 0xffff:
		r -= 0x10000
		return appendUnit(appendUnit(dst, 0xd800+r>>10), 0xdc00+r&0x3ff)
	}
	return appendUnit(dst, r)
}

// appendUnit appends one UTF-16 code unit.
func appendUnit(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&0xf], hexDigits[r>>8&0xf], hexDigits[r>>4&0xf], hexDigits[r&0xf])
}

// appendObject appends a foreign JSON object. Whatever could end a line, or act
// on a terminal, is neutralised without changing the object's meaning: control
// bytes are white space there, because a valid object has none inside strings;
// other characters get a \u escape.
func appendObject(dst, object []byte) []byte {
	plain := 0
	for i := 0; i < len(object); {
		c := object[i]
		if c >= ' ' && c < 0x7f {
			i++
			continue
		}
		if c < ' ' {
			dst = append(append(dst, object[plain:i]...), ' ')
			i++
			plain = i
			continue
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(object[i:])
		}
		if c == 0x7f || !human.Visible(r) || (r == utf8.RuneError && n == 1) {
			dst = appendEscape(append(dst, object[plain:i]...), r)
			plain = i + n
		}
		i += n
	}
	return append(dst, object[plain:]...)
}
