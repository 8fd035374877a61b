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

// attributes builds the JSON object of what a marker tells, or nothing. It is valid
// until the next call.
func (r *values) attributes(s *Site, ev *event.Marker) []byte {
	if s.Object != None {
		return r.object(&ev.Values[s.Object])
	}
	if len(s.Attrs) == 0 {
		return nil
	}
	b := append(r.buf[:0], '{')
	cut, unread := false, false
	for i := range s.Attrs {
		a := &s.Attrs[i]
		v := &ev.Values[a.Slot]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, a.label...)
		b = appendValue(b, a, v)
		cut = cut || v.Truncated
		unread = unread || v.Unreadable
	}
	if cut {
		b = appendKeys(b, truncatedLabel, s, ev, func(v *event.Value) bool { return v.Truncated })
		r.stats.CutAttributes++
	}
	if unread {
		b = appendKeys(b, unreadableLabel, s, ev, func(v *event.Value) bool { return v.Unreadable })
		r.stats.UnreadableAttributes++
	}
	b = append(b, '}')
	r.buf = b
	return b
}

func appendKeys(b []byte, label string, s *Site, ev *event.Marker, is func(*event.Value) bool) []byte {
	b = append(append(b, ','), label...)
	first := true
	for i := range s.Attrs {
		if !is(&ev.Values[s.Attrs[i].Slot]) {
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
	}
	return strconv.AppendInt(b, int64(v.Int), 10)
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
