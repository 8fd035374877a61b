// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner reads the values of one line of valid JSON. Its first failure sticks:
// whatever is read after it is zero and meaningless.
type scanner struct {
	d       jsontext.Decoder
	buffer  bytes.Buffer
	line    []byte
	at      int // what comes next in line
	err     error
	unknown uint64 // unknown fields, of all lines
	text    []byte // scratch
	known   map[string]string
}

// Bounds of the strings kept for reuse: their number, and the bytes of each.
const (
	maxKnown       = 1 << 16
	maxKnownString = 256
)

// begin checks that a line is one JSON value and makes it the one to be read.
func (s *scanner) begin(line []byte) error {
	s.line, s.at, s.err = line, 0, nil
	if !utf8.Valid(line) {
		return errors.New("no valid UTF-8")
	}
	s.buffer = *bytes.NewBuffer(line)
	s.d.Reset(&s.buffer, leniently...)
	if _, err := s.d.ReadValue(); err != nil {
		return err
	}
	if _, err := s.d.ReadToken(); err != io.EOF {
		return errors.New("more than one object")
	}
	return nil
}

// leniently: duplicate fields are refused where they are read, and invalid UTF-8
// before that. Lone surrogates, as escapes, are allowed in the program's
// attributes and refused elsewhere.
var leniently = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *scanner) failf(format string, args ...any) { s.fail(fmt.Errorf(format, args...)) }

// next returns the first byte of what comes, 0 at the end of the line.
func (s *scanner) next() byte {
	for s.at < len(s.line) {
		if c := s.line[s.at]; c > ' ' {
			return c
		}
		s.at++
	}
	return 0
}

// raw reads a value as it is in the line.
func (s *scanner) raw() []byte {
	if s.err != nil {
		return nil
	}
	c, from := s.next(), s.at
	switch c {
	case '"':
		s.at = afterString(s.line, s.at)
	case '{', '[':
		s.at = afterNested(s.line, s.at)
	default:
		for s.at < len(s.line) && !endsScalar(s.line[s.at]) {
			s.at++
		}
	}
	return s.line[from:s.at]
}

func endsScalar(c byte) bool { return c == ',' || c == '}' || c == ']' || c <= ' ' }

// afterString returns the end of the string that begins at a place.
func afterString(line []byte, at int) int {
	at++
	if n := bytes.IndexByte(line[at:], '"'); n == 0 || line[at+n-1] != '\\' {
		return at + n + 1
	}
	for ; line[at] != '"'; at++ {
		if line[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// afterNested is afterString for an object or list.
func afterNested(line []byte, at int) int {
	for depth := 0; ; {
		switch line[at] {
		case '"':
			at = afterString(line, at)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if at++; depth == 0 {
			return at
		}
	}
}

func (s *scanner) skip() { s.raw() }

// null reads a null, if one comes next.
func (s *scanner) null() bool {
	if s.err != nil || s.next() != 'n' {
		return false
	}
	s.skip()
	return true
}

// open reads the opening bracket of an object or list.
func (s *scanner) open(begin byte, what string) bool {
	if s.err == nil && s.next() != begin {
		s.failf("%.40s: want %s", s.raw(), what)
	}
	if s.err != nil {
		return false
	}
	s.at++
	return true
}

// more reports whether another member follows, and reads the comma before it, or
// the closing bracket if there is none.
func (s *scanner) more(end byte) bool {
	if s.err != nil {
		return false
	}
	switch s.next() {
	case end:
		s.at++
		return false
	case ',':
		s.at++
	}
	return true
}

// name reads the name of a member.
func (s *scanner) name() []byte {
	name := s.raw()
	if s.next() == ':' {
		s.at++
	}
	return name
}

// unsigned reads an unsigned integer.
func (s *scanner) unsigned() uint64 {
	if n, ok := s.short(); ok {
		return n
	}
	v := s.raw()
	if s.err != nil {
		return 0
	}
	n, ok := digits(v)
	if !ok {
		s.failf("%.40s: want an integer of 64 bits from 0 on", v)
	}
	return n
}

// integer reads an integer.
func (s *scanner) integer() int64 {
	if n, ok := s.short(); ok {
		return int64(n)
	}
	v := s.raw()
	if s.err != nil {
		return 0
	}
	rest, negative := bytes.CutPrefix(v, []byte("-"))
	n, ok := digits(rest)
	switch {
	case !ok, !negative && n > 1<<63-1, n > 1<<63:
		s.failf("%.40s: want an integer of 64 bits", v)
		return 0
	case negative:
		return -int64(n)
	}
	return int64(n)
}

// share reads a number that need not be an integer.
func (s *scanner) share() float64 {
	v := s.raw()
	if s.err != nil {
		return 0
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || f < 0 {
		s.failf("%.40s: want a number from 0 on", v)
	}
	return f
}

// short reads an unsigned integer of up to 18 digits, if one comes next.
func (s *scanner) short() (n uint64, ok bool) {
	if s.err != nil {
		return 0, false
	}
	s.next()
	rest := s.line[s.at:]
	for i, c := range rest[:min(19, len(rest))] {
		d := uint64(c - '0')
		if d > 9 {
			if i == 0 || !endsScalar(c) {
				return 0, false
			}
			s.at += i
			return n, true
		}
		n = n*10 + d
	}
	return 0, false
}

// digits reads an unsigned decimal number.
func digits(v []byte) (n uint64, ok bool) {
	if len(v) == 0 || len(v) > 20 {
		return 0, false
	}
	for _, c := range v {
		d := uint64(c - '0')
		if d > 9 || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// number reads an integer that fits an int of 32 bits.
func (s *scanner) number() int {
	n := s.integer()
	if n != int64(int32(n)) {
		s.failf("%d: want an integer of 32 bits", n)
		return 0
	}
	return int(n)
}

// numberOrNull is 0 for null.
func (s *scanner) numberOrNull() int {
	if s.null() {
		return 0
	}
	return s.number()
}

func (s *scanner) bool() bool {
	v := s.raw()
	if s.err == nil && string(v) != "true" && string(v) != "false" {
		s.failf("%.40s: want true or false", v)
	}
	return string(v) == "true"
}

// string reads a string.
func (s *scanner) string() string {
	v := s.raw()
	if s.err != nil {
		return ""
	}
	if len(v) == 0 || v[0] != '"' {
		s.failf("%.40s: want a string", v)
		return ""
	}
	return s.unquote(v)
}

// stringOrNull is "" for null.
func (s *scanner) stringOrNull() string {
	if s.null() {
		return ""
	}
	return s.string()
}

// unquote returns the value of a JSON string. Equal ones share one string.
func (s *scanner) unquote(v []byte) string {
	if text, ok := s.known[string(v)]; ok {
		return text
	}
	var err error
	if s.text, err = jsontext.AppendUnquote(s.text[:0], v); err != nil {
		s.fail(err)
		return ""
	}
	text := string(s.text)
	if len(v) <= maxKnownString {
		if len(s.known) >= maxKnown || s.known == nil {
			s.known = make(map[string]string)
		}
		s.known[string(v)] = text
	}
	return text
}
