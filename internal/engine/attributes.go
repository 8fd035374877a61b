// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Keys that say what was changed. They come last, so that of two equal keys the
// first is the program's own.
const (
	truncatedLabel  = `"_truncated":[`
	unreadableLabel = `"_unreadable":[`
)

// Names shown where the marker gave none.
const (
	NameEmpty      = "(empty)"
	NameUnreadable = "(unreadable)"
	NameNull       = "(null)"
)

var (
	nameEmpty      = []byte(NameEmpty)
	nameUnreadable = []byte(NameUnreadable)
	nameNull       = []byte(NameNull)
	nameLost       = []byte(stream.LostName)
)

// values reads what a marker has captured, and counts what is wrong with it.
type values struct {
	stats *Stats
	buf   []byte // scratch
}

// name returns the name an enter gives, or what to show instead.
func (r *values) name(s *Site, ev *event.Marker) []byte {
	if s.Pair.Name != nil {
		return s.Pair.Name
	}
	if s.Name == None {
		r.stats.BadNames++
		return nameUnreadable
	}
	v := &ev.Values[s.Name]
	switch {
	case v.NullPointer:
		r.stats.BadNames++
		return nameNull
	case v.Unreadable:
		r.stats.BadNames++
		return nameUnreadable
	case v.Truncated:
		r.stats.CutNames++
	}
	if recorder.BlankName(v.Str) {
		r.stats.BadNames++
		return nameEmpty
	}
	return v.Str
}

// appendString appends b as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString(dst, b []byte) []byte {
	// The error only reports invalid UTF-8.
	dst, _ = jsontext.AppendQuote(dst, b)
	return dst
}

// told builds the JSON object of what an enter tells of its phase, or nothing. outer
// says that the phase is inside no other. It is valid until the next call.
func (r *values) told(th *thread, s *Site, ev *event.Marker, outer bool) []byte {
	return r.build(th, s, ev, outer)
}

// attributes does the same for an exit.
func (r *values) attributes(s *Site, ev *event.Marker) []byte { return r.build(nil, s, ev, true) }

// build builds the JSON object of a site's attributes.
func (r *values) build(th *thread, s *Site, ev *event.Marker, outer bool) []byte {
	if s.Object != None {
		return r.object(&ev.Values[s.Object])
	}
	if len(s.Attrs) == 0 {
		return nil
	}
	b := append(r.buf[:0], '{')
	var cut, unread uint64 // attributes, a bit each
	for i := range s.Attrs {
		a := &s.Attrs[i]
		if a.Outer && !outer {
			continue
		}
		var truncated, unreadable bool
		b, truncated, unreadable = appendMember(b, a, th, ev)
		if truncated {
			cut |= 1 << i
		}
		if unreadable {
			unread |= 1 << i
		}
	}
	if len(b) == 1 {
		return nil
	}
	if cut != 0 {
		b = appendKeys(b, truncatedLabel, s, cut)
		r.stats.CutAttributes++
	}
	if unread != 0 {
		b = appendKeys(b, unreadableLabel, s, unread)
		r.stats.UnreadableAttributes++
	}
	b = append(b, '}')
	r.buf = b
	return b
}

// appendMember appends an attribute, unless it is left out: of the thread's context and
// not known there, or null where that tells nothing.
func appendMember(b []byte, a *Attr, th *thread, ev *event.Marker) (out []byte, truncated, unreadable bool) {
	from := len(b)
	if from > 1 {
		b = append(b, ',')
	}
	b = append(b, a.label...)
	if !a.FromContext {
		v := &ev.Values[a.Slot]
		if a.NullLeftOut && v.NullPointer {
			return b[:from], false, false
		}
		return appendValue(b, a, v), v.Truncated, v.Unreadable
	}
	n := th.fromContext(a, ev.Time)
	if n == nil {
		return b[:from], false, false
	}
	return append(b, n.json...), n.cut, n.unreadable
}

// appendKeys appends the keys of the attributes whose bits are set.
func appendKeys(b []byte, label string, s *Site, which uint64) []byte {
	b = append(append(b, ','), label...)
	first := true
	for i := range s.Attrs {
		if which&(1<<i) == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, []byte(s.Attrs[i].Key))
	}
	return append(b, ']')
}

func appendValue(b []byte, a *Attr, v *event.Value) []byte {
	if v.Unreadable {
		return append(b, "null"...)
	}
	switch a.Format {
	case FormatText:
		if v.NullPointer {
			return append(b, "null"...)
		}
		return appendString(b, v.Str)
	case FormatHex:
		b = append(b, `"0x`...)
		b = strconv.AppendUint(b, mask(v.Int, a.Size), 16)
		return append(b, '"')
	case FormatUint:
		return strconv.AppendUint(b, mask(v.Int, a.Size), 10)
	case FormatWord:
		return appendWord(b, a, v.Int)
	case FormatFlags:
		return appendFlags(b, a, mask(v.Int, a.Size))
	}
	return strconv.AppendInt(b, int64(v.Int), 10)
}

// appendWord appends the word of a number, or the number.
func appendWord(b []byte, a *Attr, n uint64) []byte {
	for i := range a.Words {
		if w := &a.Words[i]; w.Value == n {
			return append(append(append(b, '"'), w.json...), '"')
		}
	}
	return strconv.AppendInt(b, int64(n), 10)
}

// appendFlags appends the words of the bits that are set, and the others as a number.
func appendFlags(b []byte, a *Attr, bits uint64) []byte {
	b = append(b, '"')
	from := len(b)
	for i := range a.Words {
		w := &a.Words[i]
		if w.Value == 0 || bits&w.Value != w.Value {
			continue
		}
		bits &^= w.Value
		if len(b) > from {
			b = append(b, ' ')
		}
		b = append(b, w.json...)
	}
	switch {
	case bits != 0:
		if len(b) > from {
			b = append(b, ' ')
		}
		b = strconv.AppendUint(append(b, "0x"...), bits, 16)
	case len(b) == from:
		b = append(b, "none"...)
	}
	return append(b, '"')
}

// mask undoes a sign extension.
func mask(v uint64, size int) uint64 {
	if size >= 8 || size <= 0 {
		return v
	}
	return v & (1<<(8*size) - 1)
}

// objectAttributes takes the JSON object that one of our markers passes. Anything
// else is kept as text under "raw".
func (r *values) object(v *event.Value) []byte {
	if v.NullPointer {
		return nil
	}
	text := bytes.TrimSpace(v.Str)
	if !v.Unreadable && !v.Truncated && len(text) == 0 {
		return nil
	}
	if !v.Unreadable && !v.Truncated && text[0] == '{' && jsontext.Value(text).IsValid() {
		if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
			return text
		}
		compact := jsontext.Value(append(r.buf[:0], text...))
		if compact.Compact() == nil {
			r.buf = compact
			return compact
		}
	}
	return r.raw(v)
}

func (r *values) raw(v *event.Value) []byte {
	b := append(r.buf[:0], `{"raw":`...)
	switch {
	case v.Unreadable:
		r.stats.UnreadableAttributes++
		b = append(b, `null,"_unreadable":["raw"]}`...)
	case v.Truncated:
		r.stats.CutAttributes++
		b = append(appendString(b, v.Str), `,"_truncated":["raw"]}`...)
	default:
		r.stats.InvalidAttributes++
		b = append(appendString(b, v.Str), '}')
	}
	r.buf = b
	return b
}
