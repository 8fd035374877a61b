// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"strconv"
	"strings"
)

// The text form of an event is one line:
//
//	TIME KIND FIELD=VALUE …
//
//	12 enter tid=11 pid=10 seq=3 depth=2 low=1 values="step",7,null,-1
//	90 thread_exit tid=11 pid=10 start=5 comm="worker" markers=8
//
// Fields come in any order, and one that is left out is zero. Names of threads
// are quoted as in Go. Captured values stand in the order of the site's plan:
// integers, quoted strings with a mark behind those that were longer than what
// was read ("st"...), null for a null pointer and ? for what could not be read.

// Kinds returns the words for the kinds of events, in the order of their table.
func Kinds() []string {
	out := make([]string, len(kinds))
	for i := range kinds {
		out[i] = kinds[i].name
	}
	return out
}

// Append appends the text form of an event, without a line feed. Fields that are
// zero are left out. It fails for an event of an unknown kind.
func Append(dst []byte, ev Event) ([]byte, error) {
	for i := range kinds {
		k := &kinds[i]
		if !k.is(ev) {
			continue
		}
		dst = strconv.AppendInt(dst, ev.Common().Time, 10)
		dst = append(append(dst, ' '), k.name...)
		for _, f := range k.fields {
			dst = f.append(dst, ev)
		}
		return dst, nil
	}
	return dst, fmt.Errorf("write an event: a %T of no known kind", ev)
}

// append appends the field and a space before it, or nothing for a zero.
func (f *field) append(dst []byte, ev Event) []byte {
	start := len(dst)
	dst = append(append(append(dst, ' '), f.name...), '=')
	value := len(dst)
	if dst = f.write(dst, ev); len(dst) == value {
		return dst[:start]
	}
	return dst
}

// Parse reads an event from its text form. The event shares nothing with line.
func Parse(line string) (Event, error) {
	ev, err := parse(line)
	if err != nil {
		return nil, fmt.Errorf("read event %q: %w", line, err)
	}
	return ev, nil
}

func parse(line string) (Event, error) {
	when, rest := word(line)
	name, rest := word(rest)
	time, err := strconv.ParseInt(when, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no time in nanoseconds", when)
	}
	k := kindNamed(name)
	if k == nil {
		return nil, fmt.Errorf("%q is no kind of event: the kinds are %s", name, strings.Join(Kinds(), ", "))
	}
	ev := k.make()
	ev.Common().Time = time
	var seen uint64 // bit i: field i
	for rest != "" {
		var name, value string
		if name, value, rest, err = cutField(rest); err != nil {
			return nil, err
		}
		i := k.fieldNamed(name)
		if i < 0 {
			return nil, fmt.Errorf("%s has no field %q: it has %s", k.name, name, k.fieldNames())
		}
		if seen>>i&1 != 0 {
			return nil, fmt.Errorf("field %s is there twice", name)
		}
		seen |= 1 << i
		if err := k.fields[i].read(ev, value); err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
	}
	return ev, nil
}

const blank = " \t"

// word cuts a line after its first word, and the blanks behind that.
func word(line string) (first, rest string) {
	line = strings.TrimLeft(line, blank)
	end := strings.IndexAny(line, blank)
	if end < 0 {
		return line, ""
	}
	return line[:end], strings.TrimLeft(line[end:], blank)
}

// cutField cuts NAME=VALUE off a line. Blanks within quotes belong to the value.
func cutField(line string) (name, value, rest string, err error) {
	name, rest, found := strings.Cut(line, "=")
	if !found || strings.ContainsAny(name, blank) {
		first, _ := word(line)
		return "", "", "", fmt.Errorf("%q is no field: want NAME=VALUE", first)
	}
	end := 0
	for end < len(rest) && !strings.ContainsRune(blank, rune(rest[end])) {
		if rest[end] != '"' {
			end++
			continue
		}
		quoted, err := strconv.QuotedPrefix(rest[end:])
		if err != nil {
			return "", "", "", fmt.Errorf("field %s: a quote is not closed, or holds what no Go string may", name)
		}
		end += len(quoted)
	}
	return name, rest[:end], strings.TrimLeft(rest[end:], blank), nil
}
