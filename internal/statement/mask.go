// SPDX-License-Identifier: Apache-2.0

package statement

import "bytes"

// mask appends a statement with a question mark for each literal and parameter,
// without comments, with single spaces, and in lower case but for quoted names. It follows PostgreSQL's lexical rules: a
// literal that the lexer of another dialect would take for something else must not
// show. What was cut in a literal ends with it.
func mask(dst, sql []byte) []byte {
	for i := 0; i < len(sql); {
		c, n := sql[i], 0
		switch {
		case isSpace(c):
			n, dst = 1, appendSpace(dst)
		case c == '-' && next(sql, i) == '-':
			n, dst = lineEnd(sql[i:]), appendSpace(dst)
		case c == '/' && next(sql, i) == '*':
			n, dst = commentEnd(sql[i:]), appendSpace(dst)
		case c == '\'':
			n, dst = quoteEnd(sql[i:], '\'', false), append(dst, '?')
		case c == '"':
			n = quoteEnd(sql[i:], '"', false)
			dst = append(dst, sql[i:i+n]...)
		case c == '$':
			n = dollarEnd(sql[i:])
			if n > 1 {
				dst = append(dst, '?')
			} else {
				dst = append(dst, c)
			}
		case isDigit(c) || c == '.' && isDigit(next(sql, i)):
			n, dst = numberEnd(sql[i:]), append(unsigned(dst), '?')
		case isLetter(c):
			n = wordEnd(sql[i:])
			if q := prefixed(sql[i:], n); q > 0 {
				n, dst = q, append(dst, '?')
			} else {
				dst = appendLower(dst, sql[i:i+n])
			}
		default:
			n, dst = 1, append(dst, c)
		}
		i += n
	}
	return bytes.TrimRight(dst, " ;")
}

func next(b []byte, i int) byte {
	if i+1 < len(b) {
		return b[i+1]
	}
	return 0
}

func isSpace(c byte) bool  { return c == ' ' || c >= '\t' && c <= '\r' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80 }

// appendSpace appends a space, unless there is one or nothing yet.
func appendSpace(dst []byte) []byte {
	if len(dst) == 0 || dst[len(dst)-1] == ' ' {
		return dst
	}
	return append(dst, ' ')
}

// appendLower appends a word as PostgreSQL folds it.
func appendLower(dst, word []byte) []byte {
	for _, c := range word {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func lineEnd(b []byte) int {
	if n := bytes.IndexByte(b, '\n'); n >= 0 {
		return n
	}
	return len(b)
}

// commentEnd returns the length of a comment, which may have others inside.
func commentEnd(b []byte) int {
	depth := 0
	for i := 0; i+1 < len(b); i++ {
		switch {
		case b[i] == '/' && b[i+1] == '*':
			depth++
			i++
		case b[i] == '*' && b[i+1] == '/':
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}

// quoteEnd returns the length of a quoted text. A quote in it is doubled, or behind
// a backslash where there are escapes.
func quoteEnd(b []byte, quote byte, escapes bool) int {
	for i := 1; i < len(b); i++ {
		switch {
		case escapes && b[i] == '\\':
			i++
		case b[i] == quote && next(b, i) == quote:
			i++
		case b[i] == quote:
			return i + 1
		}
	}
	return len(b)
}

// dollarEnd returns the length of a parameter ($1) or of a text between dollars
// ($tag$…$tag$), 1 if it is neither.
func dollarEnd(b []byte) int {
	n := 1
	for n < len(b) && (isLetter(b[n]) || isDigit(b[n])) {
		n++
	}
	if n > 1 && isDigit(b[1]) {
		return n
	}
	if n == len(b) || b[n] != '$' {
		return 1
	}
	tag := b[:n+1]
	if end := bytes.Index(b[n+1:], tag); end >= 0 {
		return n + 1 + end + len(tag)
	}
	return len(b)
}

// numberEnd returns the length of a number, in any notation.
func numberEnd(b []byte) int {
	n := 1
	for n < len(b) {
		exponent := (b[n] == '+' || b[n] == '-') && b[n-1]|0x20 == 'e' && !(len(b) > 1 && b[1]|0x20 == 'x')
		if !isDigit(b[n]) && !isLetter(b[n]) && b[n] != '.' && !exponent {
			break
		}
		n++
	}
	return n
}

// unsigned takes back the sign of a number, or puts a space behind it if it is an
// operator between two values.
func unsigned(dst []byte) []byte {
	n := len(dst)
	if n == 0 || dst[n-1] != '-' && dst[n-1] != '+' {
		return dst
	}
	before := bytes.TrimRight(dst[:n-1], " ")
	if valueEnds(before) {
		return append(dst, ' ')
	}
	return dst[:n-1]
}

// valueEnds reports whether a text ends with a value, behind which a sign is an
// operator.
func valueEnds(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	last := b[len(b)-1]
	if last == ')' || last == ']' || last == '?' || last == '"' {
		return true
	}
	at := len(b)
	for at > 0 && (isLetter(b[at-1]) || isDigit(b[at-1]) || b[at-1] == '$') {
		at--
	}
	return at < len(b) && !unary[string(b[at:])]
}

// unary are words behind which a value begins.
var unary = map[string]bool{
	"and": true, "between": true, "by": true, "case": true, "distinct": true, "else": true, "from": true, "in": true,
	"is": true, "like": true, "limit": true, "not": true, "offset": true, "or": true, "over": true, "returning": true,
	"select": true, "set": true, "then": true, "to": true, "values": true, "when": true, "where": true,
}

func wordEnd(b []byte) int {
	n := 1
	for n < len(b) && (isLetter(b[n]) || isDigit(b[n]) || b[n] == '$') {
		n++
	}
	return n
}

// prefixed returns the length of a literal with a prefix (E'…', B'…', X'…', N'…',
// U&'…') whose word is n bytes long, 0 if it is none.
func prefixed(b []byte, n int) int {
	if n != 1 {
		return 0
	}
	switch b[0] | 0x20 {
	case 'e', 'b', 'x', 'n':
		if next(b, 0) == '\'' {
			return 1 + quoteEnd(b[1:], '\'', b[0]|0x20 == 'e')
		}
	case 'u':
		if next(b, 0) == '&' && next(b, 1) == '\'' {
			return 2 + quoteEnd(b[2:], '\'', false)
		}
	}
	return 0
}
