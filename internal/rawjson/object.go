// SPDX-License-Identifier: Apache-2.0

package rawjson

// Object is a walk through the top level of a JSON object. Key and Value belong to
// the text that it was opened on and hold the member that Next found last, as JSON
// writes them: with quotes and escapes, without space around them. Where the text is
// cut off, Value is what there is of it, and may be empty.
//
// Values are not checked: what is no JSON ends the walk, or comes out as it is.
type Object struct {
	Key, Value []byte
	rest       []byte
	broken     bool
}

// Open begins a walk before the first member. It returns false if text does not
// begin with an object.
func Open(text []byte) (o Object, ok bool) {
	text = skipSpace(text)
	if len(text) == 0 || text[0] != '{' {
		return Object{}, false
	}
	return Object{rest: skipSpace(text[1:])}, true
}

// Next goes to the next member. It returns false at the end of the object, at the
// end of the text, and at what is no member.
func (o *Object) Next() bool {
	o.Key, o.Value = nil, nil
	if o.broken || len(o.rest) == 0 || o.rest[0] == '}' {
		return false
	}
	key, after := split(o.rest)
	after = skipSpace(after)
	if o.rest[0] != '"' || len(after) == 0 || after[0] != ':' {
		o.broken = true
		return false
	}
	value, after := split(skipSpace(after[1:]))
	after = skipSpace(after)
	switch {
	case len(after) > 0 && after[0] == ',':
		after = skipSpace(after[1:])
	case len(after) > 0 && after[0] != '}':
		o.broken = true
	}
	o.Key, o.Value, o.rest = key, value, after
	return true
}

// Broken reports whether the walk has come to what is no member: other text, or a
// key that is cut off or has no value.
func (o *Object) Broken() bool { return o.broken }

// split splits off a JSON value: up to the comma, colon, bracket or space after it,
// at the same level.
func split(b []byte) (value, rest []byte) {
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
