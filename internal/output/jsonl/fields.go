// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"bytes"
	"fmt"
	"strings"
)

// field is a field of an object, and how its value is read into a player.
type field struct {
	name string
	need bool
	read func(*player)
}

const (
	need     = true
	optional = false
)

// object lists the fields of one kind of object.
type object struct {
	fields []field
	quoted [][]byte // the names as in JSON, with the colon
	needed uint64   // a bit for each field
}

func newObject(fields ...field) *object {
	o := &object{fields: fields}
	if len(fields) > 64 {
		panic("jsonl: too many fields for a bit each")
	}
	for i, f := range fields {
		o.quoted = append(o.quoted, []byte(`"`+f.name+`":`))
		if f.need {
			o.needed |= 1 << i
		}
	}
	return o
}

// find returns the index of the field that a text begins with, −1 for an unknown
// one. Lines are written in the order of the fields, so it is likely at or soon
// after from.
func (o *object) find(text []byte, from int) int {
	for i := from; i < len(o.quoted); i++ {
		if bytes.HasPrefix(text, o.quoted[i]) {
			return i
		}
	}
	for i := range o.quoted[:from] {
		if bytes.HasPrefix(text, o.quoted[i]) {
			return i
		}
	}
	return -1
}

// missing names the needed fields that were not seen.
func (o *object) missing(seen uint64) error {
	var names []string
	for i, f := range o.fields {
		if f.need && seen&(1<<i) == 0 {
			names = append(names, f.name)
		}
	}
	return fmt.Errorf("no %s", strings.Join(names, ", "))
}

// members reads the members of an object after its opening brace. seen has a bit
// for each field already read.
func (p *player) members(o *object, seen uint64) {
	at := 0
	for p.more('}') {
		p.next()
		i := o.find(p.line[p.at:], at)
		if i >= 0 {
			p.at += len(o.quoted[i])
		} else { // an unknown field, or one not written the way we do
			i = o.find([]byte(`"`+p.unquote(p.name())+`":`), 0)
		}
		switch {
		case p.err != nil:
			return
		case i < 0:
			p.unknown++
			p.skip()
			continue
		case seen&(1<<i) != 0:
			p.failf("%s twice", o.fields[i].name)
			return
		}
		seen |= 1 << i
		at = i + 1
		o.fields[i].read(p)
		if p.err != nil {
			p.err = fmt.Errorf("%s: %w", o.fields[i].name, p.err)
			return
		}
	}
	if p.err == nil && o.needed&^seen != 0 {
		p.fail(o.missing(seen))
	}
}

// object reads an object.
func (p *player) object(o *object) {
	if p.open('{', "an object") {
		p.members(o, 0)
	}
}

// list calls each before each element of a list.
func (p *player) list(each func(*player)) {
	if !p.open('[', "a list") {
		return
	}
	for p.more(']') {
		each(p)
	}
}
