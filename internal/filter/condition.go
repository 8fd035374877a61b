// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bytes"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// field is what a condition looks at.
type field uint8

const (
	fieldProcess field = iota
	fieldThread
	fieldPhase
	fieldPath
	fieldAttribute
	fieldRank
	fieldPID
	fieldTID
	fieldDuration
)

// names of the fields but for attributes, which are attr.KEY.
var names = map[string]field{
	"process": fieldProcess, "thread": fieldThread, "phase": fieldPhase, "path": fieldPath,
	"rank": fieldRank, "pid": fieldPID, "tid": fieldTID, "duration": fieldDuration,
}

const attributePrefix = "attr."

// op compares a field with a value.
type op uint8

const (
	opEqual op = iota
	opUnequal
	opContains
	opLacks
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
)

// signs are the operators as written, by op.
var signs = [...]string{"=", "!=", "~", "!~", "<", "<=", ">", ">="}

func (o op) ordered() bool  { return o >= opLess }
func (o op) contains() bool { return o == opContains || o == opLacks }

// condition is a field, an operator and a value.
type condition struct {
	field  field
	key    string // of an attribute
	op     op
	text   string
	number int64   // of ranks and ids; ns of durations
	real   float64 // of attributes with an ordered op
}

// String is the condition as Parse takes it.
func (c *condition) String() string {
	name := attributePrefix + c.key
	for n, f := range names {
		if f == c.field {
			name = n
		}
	}
	switch {
	case c.field == fieldDuration:
		return name + signs[c.op] + time.Duration(c.number).String()
	case c.field == fieldRank || c.field == fieldPID || c.field == fieldTID:
		return name + signs[c.op] + strconv.FormatInt(c.number, 10)
	case c.op.ordered():
		return name + signs[c.op] + strconv.FormatFloat(c.real, 'g', -1, 64)
	}
	return name + signs[c.op] + strconv.Quote(c.text)
}

// holds reports whether a condition holds for a boundary. One on something that the
// boundary does not have does not hold, not even !=; one on a duration that nobody
// knows does: such phases are not to be missed.
func (f *Filter) holds(c *condition, b *stream.Boundary) bool {
	switch c.field {
	case fieldRank:
		return compare(c.op, int64(b.Rank), c.number)
	case fieldDuration:
		return b.Synthetic != stream.ReasonNone || b.Doubt != stream.DoubtNone || compare(c.op, b.Duration, c.number)
	case fieldPhase:
		return c.fits(b.Path.Name())
	case fieldPath:
		return c.fits(b.Path.String())
	case fieldAttribute:
		return f.attribute(c, b)
	}
	if b.Thread == nil {
		return false
	}
	switch c.field {
	case fieldThread:
		return c.fits(b.Thread.Name)
	case fieldTID:
		return compare(c.op, int64(b.Thread.TID), c.number)
	}
	p := b.Thread.Process
	switch {
	case p == nil:
		return false
	case c.field == fieldPID:
		return compare(c.op, int64(p.PID), c.number)
	}
	return c.process(p)
}

// process holds the name of a process, that of its program and its title against
// the condition: one of them must fit, or all where it is a negation.
func (c *condition) process(p *stream.Process) bool {
	if c.op == opUnequal || c.op == opLacks {
		return c.fits(p.Comm) && c.fits(path.Base(p.Exe)) && c.fits(p.Title)
	}
	return c.fits(p.Comm) || c.fits(path.Base(p.Exe)) || c.fits(p.Title)
}

// fits compares text.
func (c *condition) fits(s string) bool {
	switch c.op {
	case opEqual:
		return s == c.text
	case opUnequal:
		return s != c.text
	case opContains:
		return strings.Contains(s, c.text)
	}
	return !strings.Contains(s, c.text)
}

// attribute looks at an attribute of the enter, else of the exit.
func (f *Filter) attribute(c *condition, b *stream.Boundary) bool {
	value, ok := stream.AppendAttribute(f.value[:0], b.Attributes, c.key)
	if !ok && len(b.ExitAttributes) > 0 {
		value, ok = stream.AppendAttribute(value[:0], b.ExitAttributes, c.key)
	}
	f.value = value
	switch {
	case !ok:
		return false
	case c.op.ordered():
		n, err := strconv.ParseFloat(string(value), 64)
		return err == nil && compare(c.op, n, c.real)
	case c.op.contains():
		return bytes.Contains(value, []byte(c.text)) == (c.op == opContains)
	}
	return (string(value) == c.text) == (c.op == opEqual)
}

func compare[T int64 | float64](o op, a, b T) bool {
	switch o {
	case opEqual:
		return a == b
	case opUnequal:
		return a != b
	case opLess:
		return a < b
	case opLessEqual:
		return a <= b
	case opGreater:
		return a > b
	}
	return a >= b
}
