// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxConditions is how many conditions an expression may have.
const MaxConditions = 32

// Parse parses an expression: conditions joined by &&, each a field, an operator and
// a value.
//
//	process, thread, phase, path   =  !=  ~ (contains)  !~      text
//	attr.KEY                       =  !=  ~  !~                 text
//	                               <  <=  >  >=                 a number
//	rank, pid, tid                 =  !=  <  <=  >  >=          a whole number
//	duration                       <  <=  >  >=                 a time such as 10ms
//
// == is taken for =. Text with && or || in it, text that begins like an operator, and
// text with spaces or quotes around it stand in quotes, as in Go or JSON.
func Parse(expression string) (*Filter, error) {
	f := &Filter{}
	rest := expression
	for {
		c, after, err := parseCondition(rest)
		if err != nil {
			return nil, err
		}
		f.conditions = append(f.conditions, c)
		f.late = f.late || c.field == fieldDuration
		if after == "" {
			return f, nil
		}
		if len(f.conditions) == MaxConditions {
			return nil, fmt.Errorf("more than %d conditions", MaxConditions)
		}
		rest = after[len("&&"):]
	}
}

// parseCondition parses the first condition; rest is empty or begins with &&.
func parseCondition(s string) (c condition, rest string, err error) {
	s = strings.TrimSpace(s)
	at := strings.IndexAny(s, "=!~<>&")
	if _, _, err := parseField(s); at < 0 && err == nil {
		return c, "", fmt.Errorf("%q: want an operator and a value after it; a shell takes < > & for its own unless the condition is in single quotes", shorten(s))
	}
	if at <= 0 || s[at] == '&' {
		return c, "", fmt.Errorf("%q: want a condition such as process~name, attr.KEY=value, phase=name or duration>10ms", shorten(s))
	}
	name := strings.TrimSpace(s[:at])
	if c.field, c.key, err = parseField(name); err != nil {
		return c, "", err
	}
	var ok bool
	if c.op, s, ok = parseOp(s[at:]); !ok {
		return c, "", fmt.Errorf("%q: want one of %s after %s", shorten(s), strings.Join(signs[:], " "), name)
	}
	value, rest, err := parseValue(strings.TrimSpace(s))
	if err != nil {
		return c, "", fmt.Errorf("%s%s: %w", name, signs[c.op], err)
	}
	if err = c.set(value); err != nil {
		return c, "", fmt.Errorf("%s%s%s: %w", name, signs[c.op], shorten(value), err)
	}
	return c, rest, nil
}

func parseField(name string) (field, string, error) {
	if key, ok := strings.CutPrefix(name, attributePrefix); ok && key != "" {
		return fieldAttribute, key, nil
	}
	if f, ok := names[name]; ok {
		return f, "", nil
	}
	return 0, "", fmt.Errorf("%q: want process, thread, phase, path, rank, pid, tid, duration or attr.KEY", shorten(name))
}

// parseOp takes the longest operator that s begins with.
func parseOp(s string) (op, string, bool) {
	if rest, ok := strings.CutPrefix(s, "=="); ok { // as many languages write it
		return opEqual, rest, true
	}
	best, found := op(0), false
	for i, sign := range signs {
		if strings.HasPrefix(s, sign) && (!found || len(sign) > len(signs[best])) {
			best, found = op(i), true
		}
	}
	if !found {
		return 0, s, false
	}
	return best, s[len(signs[best]):], true
}

// parseValue splits off a value, quoted or up to the next && or the end.
func parseValue(s string) (value, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", fmt.Errorf("%q: the quote does not end, or what is in it is no text", shorten(s))
		}
		value, _ = strconv.Unquote(quoted) // it is quoted
		rest = strings.TrimSpace(s[len(quoted):])
		if rest != "" && !strings.HasPrefix(rest, "&&") {
			return "", "", fmt.Errorf("%q after the quote: want && or nothing", shorten(rest))
		}
		return value, rest, nil
	}
	value, rest = s, ""
	if at := strings.Index(s, "&&"); at >= 0 {
		value, rest = s[:at], s[at:]
	}
	if value = strings.TrimSpace(value); value == "" {
		return "", "", fmt.Errorf(`no value: want one, "" for empty text`)
	}
	if strings.Contains(value, "||") {
		return "", "", fmt.Errorf("%q: conditions are joined with && only; text with || in it stands in quotes", shorten(value))
	}
	if strings.ContainsRune("=!~<>", rune(value[0])) {
		return "", "", fmt.Errorf("%q: want one of %s before a value; text that begins like that stands in quotes", shorten(value), strings.Join(signs[:], " "))
	}
	return value, rest, nil
}

// set gives a condition its value.
func (c *condition) set(value string) (err error) {
	switch c.field {
	case fieldDuration:
		if !c.op.ordered() {
			return fmt.Errorf("want <, <=, > or >= between duration and a time")
		}
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return fmt.Errorf("want a time such as 10ms or 1.5s")
		}
		c.number = int64(d)
		return nil
	case fieldRank, fieldPID, fieldTID:
		if c.op.contains() {
			return fmt.Errorf("want =, !=, <, <=, > or >= before a number")
		}
		if c.number, err = strconv.ParseInt(value, 10, 64); err != nil {
			return fmt.Errorf("want a whole number")
		}
		return nil
	}
	if !c.op.ordered() {
		c.text = value
		return nil
	}
	if c.field != fieldAttribute {
		return fmt.Errorf("want =, !=, ~ or !~ before text")
	}
	if c.real, err = strconv.ParseFloat(value, 64); err != nil || math.IsNaN(c.real) {
		return fmt.Errorf("want a number after <, <=, > or >=")
	}
	return nil
}

// shorten cuts what an error quotes.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
