// SPDX-License-Identifier: Apache-2.0

// Package statement gives SQL statements that differ in literals only one form. It
// must not know where statements come from and what is counted of them.
package statement

import (
	"strings"

	"github.com/DataDog/go-sqllexer"
)

// maxKnown bounds the forms that are kept; twice as many while a new set fills.
const maxKnown = 1 << 13

// Former finds the forms of statements. In steady state, when the statements that
// come differ from known ones in literals only, it does not allocate. For one
// goroutine.
type Former struct {
	lexer       *sqllexer.Normalizer
	known, past map[string]string // form by what mask leaves
	masked      []byte
}

// NewFormer returns a Former that knows no statement yet.
func NewFormer() *Former {
	return &Former{lexer: sqllexer.NewNormalizer(sqllexer.WithKeepSQLAlias(true), sqllexer.WithKeepIdentifierQuotation(true),
		sqllexer.WithUppercaseKeywords(false), sqllexer.WithRemoveSpaceBetweenParentheses(true)),
		known: make(map[string]string)}
}

// Form returns a statement without its literals, each of which is a question mark,
// without comments, with single spaces and in lower case; lists of literals are one. Text after the
// place where a statement was cut counts as missing.
func (f *Former) Form(sql []byte) string {
	f.masked = mask(f.masked[:0], sql)
	if form, ok := f.known[string(f.masked)]; ok {
		return form
	}
	key := string(f.masked)
	form, ok := f.past[key]
	if !ok {
		form = f.form(key)
	}
	if len(f.known) >= maxKnown {
		f.past, f.known = f.known, make(map[string]string)
	}
	f.known[key] = form
	return form
}

func (f *Former) form(masked string) string {
	form, _, err := f.lexer.Normalize(masked)
	if err != nil {
		form = masked // which has no literals either
	}
	return strings.ToValidUTF8(form, "\uFFFD")
}
