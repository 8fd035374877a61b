// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// BlankName reports whether a name is empty once it is trimmed: no scope can
// have it.
func BlankName(name []byte) bool {
	if len(name) > 0 && plain(name[0]) {
		return false
	}
	return len(trimName(name)) == 0
}

// cleanName trims a name of white space and cuts it at limit bytes, between
// characters and without white space at its new end.
func cleanName(name []byte, limit int) ([]byte, Cut) {
	if n := len(name); n > 0 && n <= limit && plain(name[0]) && plain(name[n-1]) {
		return name, 0
	}
	name = trimName(name)
	if len(name) <= limit {
		return name, 0
	}
	for i := limit; i > 0 && i > limit-utf8.UTFMax; i-- {
		if utf8.RuneStart(name[i]) {
			limit = i
			break
		}
	}
	return trimName(name[:limit]), CutName
}

func trimName(name []byte) []byte { return bytes.TrimFunc(name, space) }

// space reports whether trimming removes c. It removes what Python's str.strip
// does, as the seed does: Unicode's White_Space and the four information
// separators.
func space(c rune) bool { return unicode.IsSpace(c) || c >= '\x1c' && c <= '\x1f' }

// plain reports whether c is a character that trimming never removes.
func plain(c byte) bool { return c > ' ' && c < utf8.RuneSelf }
