// SPDX-License-Identifier: Apache-2.0

package event

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// integer is the type of a number in an event.
type integer interface {
	int | int32 | uint8 | uint32 | uint64
}

// number makes a field of an integer of the event.
func number[E Event, N integer](name string, at func(E) *N) field {
	return field{
		name: name,
		write: func(dst []byte, ev Event) []byte {
			n := *at(ev.(E))
			switch {
			case n == 0:
				return dst
			case n < 0:
				return strconv.AppendInt(dst, int64(n), 10)
			}
			return strconv.AppendUint(dst, uint64(n), 10)
		},
		read: func(ev Event, text string) (err error) {
			*at(ev.(E)), err = readNumber[N](text)
			return err
		},
	}
}

func readNumber[N integer](text string) (N, error) {
	var zero N
	bits := int(unsafe.Sizeof(zero)) * 8
	if zero-1 > zero { // unsigned
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return 0, fmt.Errorf("%q is no number from 0 to %d", text, uint64(zero-1))
		}
		return N(n), nil
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%q is no number of %d bits", text, bits)
	}
	return N(n), nil
}

// text makes a field of a string.
func text[E Event](name string, at func(E) *[]byte) field {
	return field{
		name: name,
		write: func(dst []byte, ev Event) []byte {
			if s := *at(ev.(E)); len(s) > 0 {
				return strconv.AppendQuote(dst, string(s))
			}
			return dst
		},
		read: func(ev Event, text string) error {
			s, rest, err := readQuoted(text)
			if err != nil || rest != "" {
				return fmt.Errorf("%s is no quoted string", text)
			}
			*at(ev.(E)) = s
			return nil
		},
	}
}

// flag makes a field of something that is or is not.
func flag[E Event](name string, at func(E) *bool) field {
	return field{
		name: name,
		write: func(dst []byte, ev Event) []byte {
			if *at(ev.(E)) {
				return append(dst, "yes"...)
			}
			return dst
		},
		read: func(ev Event, text string) error {
			if text != "yes" {
				return fmt.Errorf("%q is not yes", text)
			}
			*at(ev.(E)) = true
			return nil
		},
	}
}

// readQuoted reads a quoted string, which text must begin with.
func readQuoted(text string) (s []byte, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		return nil, text, strconv.ErrSyntax
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return nil, text, err
	}
	plain, err := strconv.Unquote(quoted)
	return []byte(plain), text[len(quoted):], err
}

const noLane = "none"

// lane makes the field of a marker's lane, which may have none.
func lane() field {
	f := number("lane", func(e *Marker) *uint8 { return &e.Lane })
	return field{
		name: f.name,
		write: func(dst []byte, ev Event) []byte {
			if ev.(*Marker).Lane == probe.NoLane {
				return append(dst, noLane...)
			}
			return f.write(dst, ev)
		},
		read: func(ev Event, text string) error {
			if text == noLane {
				ev.(*Marker).Lane = probe.NoLane
				return nil
			}
			return f.read(ev, text)
		},
	}
}

// Marks after, or instead of, a captured value.
const (
	markTruncated  = "..."
	markUnreadable = "?"
	markNull       = "null"
)

func appendValues(dst []byte, ev Event) []byte {
	m := ev.(*Marker)
	for i := range m.Values[:min(int(m.NumValues), len(m.Values))] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = m.Values[i].append(dst)
	}
	return dst
}

func (v *Value) append(dst []byte) []byte {
	bare := v.Unreadable || v.NullPointer // the mark says it all
	switch {
	case v.Str != nil && (len(v.Str) > 0 || !bare):
		dst = strconv.AppendQuote(dst, string(v.Str))
	case v.Str == nil && (v.Int != 0 || !bare):
		dst = strconv.AppendInt(dst, int64(v.Int), 10)
	}
	if v.Truncated {
		dst = append(dst, markTruncated...)
	}
	if v.Unreadable {
		dst = append(dst, markUnreadable...)
	}
	if v.NullPointer {
		dst = append(dst, markNull...)
	}
	return dst
}

var errTooManyValues = fmt.Errorf("more than %d values", probe.MaxCaptures)

func readValues(ev Event, text string) error {
	m := ev.(*Marker)
	for rest := text; ; {
		if int(m.NumValues) == len(m.Values) {
			return errTooManyValues
		}
		var err error
		if m.Values[m.NumValues], rest, err = readValue(rest); err != nil {
			return err
		}
		m.NumValues++
		if rest == "" {
			return nil
		}
		if rest[0] != ',' {
			return fmt.Errorf("%q follows a value: want a comma", rest)
		}
		rest = rest[1:]
	}
}

// readValue reads one captured value from the beginning of a list.
func readValue(list string) (v Value, rest string, err error) {
	rest = list
	if strings.HasPrefix(list, `"`) {
		if v.Str, rest, err = readQuoted(list); err != nil {
			return v, list, errors.New("a value is no quoted string")
		}
	} else if digits := numberPrefix(list); digits != "" {
		if v.Int, err = readInt(digits); err != nil {
			return v, list, err
		}
		rest = list[len(digits):]
	}
	rest, v.Truncated = strings.CutPrefix(rest, markTruncated)
	rest, v.Unreadable = strings.CutPrefix(rest, markUnreadable)
	rest, v.NullPointer = strings.CutPrefix(rest, markNull)
	if len(rest) == len(list) {
		return v, list, fmt.Errorf("%q begins with no value", list)
	}
	return v, rest, nil
}

// numberPrefix returns the decimal number that a list begins with, "" for none.
func numberPrefix(list string) string {
	digits := strings.TrimLeft(strings.TrimPrefix(list, "-"), "0123456789")
	if n := len(list) - len(digits); n > 1 || n == 1 && list[0] != '-' {
		return list[:n]
	}
	return ""
}

// readInt takes a captured integer, signed or not, by its 64 bits.
func readInt(digits string) (uint64, error) {
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return uint64(n), nil
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s does not fit into 64 bits", digits)
	}
	return n, nil
}
