// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"github.com/go-json-experiment/json/jsontext"
)

// AppendAttribute appends the value of an attribute as text: a string without its
// quotes and escapes, anything else as JSON writes it. Object is the JSON object of
// attributes, or empty. It returns false if there is no such attribute or if it is
// null. Of equal names the first counts; a name with an escape in it is not found.
// In steady state it does not allocate.
func AppendAttribute(dst, object []byte, name string) (value []byte, ok bool) {
	rest := skipSpace(object)
	if len(rest) == 0 || rest[0] != '{' {
		return dst, false
	}
	rest = skipSpace(rest[1:])
	for len(rest) > 0 && rest[0] == '"' {
		key, after := jsonValue(rest)
		if after = skipSpace(after); len(after) == 0 || after[0] != ':' {
			return dst, false
		}
		text, after := jsonValue(skipSpace(after[1:]))
		if len(key) == len(name)+2 && string(key[1:len(key)-1]) == name {
			return appendText(dst, text)
		}
		if rest = skipSpace(after); len(rest) > 0 && rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
	return dst, false
}

// appendText appends a JSON value as text, unless it is null or cut off.
func appendText(dst, value []byte) ([]byte, bool) {
	switch {
	case len(value) == 0 || string(value) == "null":
		return dst, false
	case value[0] != '"':
		return append(dst, value...), true
	}
	out, err := jsontext.AppendUnquote(dst, value)
	if err != nil {
		return dst, false
	}
	return out, true
}

// jsonValue splits off a JSON value: up to the comma, colon, bracket or space after
// it, at the same level.
func jsonValue(b []byte) (value, rest []byte) {
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
		case depth == 0 && (c == ',' || c == ':' || space(c)):
			return b[:i], b[i:]
		}
	}
	return b, nil
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func skipSpace(b []byte) []byte {
	for len(b) > 0 && space(b[0]) {
		b = b[1:]
	}
	return b
}
