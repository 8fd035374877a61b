// SPDX-License-Identifier: Apache-2.0

package human

import "github.com/phasetrace/phasetrace/internal/rawjson"

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
	o, ok := rawjson.Open(object)
	for o.Next() {
		if len(dst) > 0 {
			dst = append(dst, ' ')
		}
		dst = append(append(dst, unquoted(o.Key)...), '=')
		dst = append(dst, o.Value...)
	}
	return dst, ok && !o.Broken()
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
