// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// word is a word of a probe's name: name[start:end], lower is its lower-case form.
type word struct {
	lower      string
	start, end int
}

// wordsOf splits a name at what is neither a letter nor a digit and where camel
// case begins a word: "query__start" and "QueryStart" are both query and start, and
// "HTTPStart" is http and start. It appends to buf, so that a caller can reuse
// memory.
func wordsOf(name string, buf []word) []word {
	start, prev := -1, rune(0)
	emit := func(end int) {
		if start >= 0 {
			buf = append(buf, word{strings.ToLower(name[start:end]), start, end})
		}
		start = -1
	}
	for i, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			emit(i)
		case start < 0:
			start = i
		case unicode.IsUpper(r) && (!unicode.IsUpper(prev) || lowerFollows(name[i:])):
			emit(i)
			start = i
		}
		prev = r
	}
	emit(len(name))
	return buf
}

// lowerFollows says whether the second rune is a lower-case letter.
func lowerFollows(s string) bool {
	_, n := utf8.DecodeRuneInString(s)
	r, _ := utf8.DecodeRuneInString(s[n:])
	return unicode.IsLower(r)
}
