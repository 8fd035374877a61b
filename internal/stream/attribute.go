// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/phasetrace/phasetrace/internal/rawjson"
)

// AppendAttribute appends the value of an attribute as text: a string without its
// quotes and escapes, anything else as JSON writes it. Object is the JSON object of
// attributes, or empty. It returns false if there is no such attribute or if it is
// null. Of equal names the first counts; a name with an escape in it is not found.
// In steady state it does not allocate.
func AppendAttribute(dst, object []byte, name string) (value []byte, ok bool) {
	o, _ := rawjson.Open(object)
	for o.Next() {
		if len(o.Key) == len(name)+2 && string(o.Key[1:len(o.Key)-1]) == name {
			return appendText(dst, o.Value)
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
