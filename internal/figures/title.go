// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"cmp"
	"strings"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// titleKey is what a process is for, by its title: without numbers, and of a server
// process of PostgreSQL's for a client without what it is doing. So all connections of
// one user to one database are one group. A process without a title goes by its name.
func titleKey(dst []byte, b *stream.Boundary) ([]byte, bool) {
	if b.Thread == nil || b.Thread.Process == nil {
		return dst, false
	}
	p := b.Thread.Process
	return appendRole(dst, cmp.Or(p.Title, p.Comm)), true
}

// appendRole appends a title without what changes from one process to the next.
func appendRole(dst []byte, title string) []byte {
	for rest, first := stream.WithoutActivity(title), true; rest != ""; first = false {
		var word string
		word, rest, _ = strings.Cut(rest, " ")
		if !first {
			dst = append(dst, ' ')
		}
		if isNumber(word) {
			dst = append(dst, '?')
		} else {
			dst = append(dst, stream.WithoutPort(word)...)
		}
	}
	return dst
}

// isNumber reports whether a word is a number, or a place in PostgreSQL's log: 0/3000148,
// 00000001000000000000000A.
func isNumber(word string) bool {
	for i := range len(word) {
		c := word[i]
		if (c < '0' || c > '9') && (i == 0 || c != '/' && (c < 'A' || c > 'F')) {
			return false
		}
	}
	return word != ""
}
