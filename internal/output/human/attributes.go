// SPDX-License-Identifier: Apache-2.0

package human

import "bytes"

// AppendAttributes appends a JSON object as key=value pairs, cut to width
// columns: epoch=1 file="batch 7.bin". Keys that need quotes keep them. Anything
// but an object is appended as it is. It works in room and returns it, perhaps
// grown, for the next call.
func AppendAttributes(dst, room, object []byte, width int) (text, used []byte) {
	// Attributes can be long and only their beginning is shown.
	head := object[:min(len(object), 8*width)]
	pairs, ok := appendPairs(room[:0], head)
	if !ok {
		pairs = append(room[:0], head...)
	}
	if len(head) < len(object) {
		pairs = append(pairs, Ellipsis...)
	}
	return AppendFitBytes(dst, pairs, width), pairs
}

// appendPairs rewrites the top level of an object, whose end may be missing.
// It reports whether it looks like one.
func appendPairs(dst, object []byte) ([]byte, bool) {
	object = bytes.TrimSpace(object)
	if len(object) == 0 || object[0] != '{' {
		return dst, false
	}
	rest := bytes.TrimSpace(object[1:])
	for len(rest) > 0 && rest[0] == '"' {
		key, after := token(rest)
		after = bytes.TrimSpace(after)
		if len(after) == 0 || after[0] != ':' {
			return dst, false
		}
		value, after := token(bytes.TrimSpace(after[1:]))
		if len(dst) > 0 {
			dst = append(dst, ' ')
		}
		dst = append(append(dst, unquoted(bytes.TrimSpace(key))...), '=')
		dst = append(dst, bytes.TrimSpace(value)...)
		rest = bytes.TrimSpace(after)
		if len(rest) > 0 && rest[0] == ',' {
			rest = bytes.TrimSpace(rest[1:])
		}
	}
	return dst, true
}

// token splits off a JSON value: up to the comma, colon or bracket after it, at
// the same level.
func token(b []byte) (value, rest []byte) {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case quoted:
			if c == '\\' {
				i++
			}
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth < 0 {
				return b[:i], b[i:]
			}
		case (c == ',' || c == ':') && depth == 0:
			return b[:i], b[i:]
		}
	}
	return b, nil
}

// unquoted takes the quotes off a key of letters, digits and the like.
func unquoted(key []byte) []byte {
	if len(key) < 3 || key[len(key)-1] != '"' {
		return key
	}
	for _, c := range key[1 : len(key)-1] {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return key
		}
	}
	return key[1 : len(key)-1]
}
