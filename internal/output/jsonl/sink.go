// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"io"
	"strconv"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Version is the version of the format, "schema_version" in session_start. It
// goes up when a field goes away or changes its meaning, not when one is added.
const Version = 1

// Sink writes JSON lines. It is a stream.Sink for one goroutine. Lines may stay
// in memory until Flush or End; a failed write sticks and is returned by every
// later call.
type Sink struct {
	out     *output.Buffer
	session string // escaped for the inside of a JSON string
	rawID   string // the session id that session is
	host    string // `,"host":"…"` encoded
	uuids   [][]byte
	paths   pathCache
}

var _ stream.Sink = (*Sink)(nil)

// New returns a sink over w, which it does not close. The name says in errors
// what w is: a file's name or "standard output".
func New(w io.Writer, name string) *Sink {
	return &Sink{out: output.NewBuffer(w, name)}
}

// Record writes one record.
func (s *Sink) Record(r stream.Record) error {
	switch r := r.(type) {
	case *stream.Boundary:
		return s.boundary(r)
	case *stream.Violation:
		return s.violationLine(r)
	case *stream.Orphan:
		return s.orphan(r)
	case *stream.Loss:
		return s.loss(r)
	case *stream.ProcessChange:
		return s.processChange(r)
	case *stream.PairChange:
		return s.pairChange(r)
	case *stream.Sample:
		return s.sample(r)
	case *stream.Dropped:
		return s.dropped(r)
	}
	return nil
}

// Flush writes the lines so far out.
func (s *Sink) Flush() error { return s.out.Flush() }

// line is a line being encoded: its methods append to it and return it.
type line []byte

// begin starts a line with the fields that every line has.
func (s *Sink) begin(event string, unix, monotonic int64) line {
	l := line(s.out.B)
	l = append(l, `{"event_type":"`...)
	l = append(l, event...)
	l = append(l, `","timestamp_ns":`...)
	l = strconv.AppendInt(l, unix, 10)
	l = append(l, `,"monotonic_ns":`...)
	l = strconv.AppendInt(l, monotonic, 10)
	l = append(l, `,"session_id":"`...)
	l = append(l, s.session...)
	return append(l, '"')
}

// end ends the line.
func (s *Sink) end(l line) error {
	s.out.B = append(l, '}', '\n')
	return s.out.Spill()
}

// setSession notes the session's id and host in their encoded form.
func (s *Sink) setSession(id, host string) {
	s.rawID, s.session = id, string(appendInside(nil, id))
	s.host = string(line(nil).text(`,"host":`, host))
}

// setDevice notes a device's encoded UUID.
func (s *Sink) setDevice(d *gpu.Device) {
	if d.ID < 0 || d.ID < len(s.uuids) && s.uuids[d.ID] != nil {
		return
	}
	for len(s.uuids) <= d.ID {
		s.uuids = append(s.uuids, nil)
	}
	if d.UUID != "" {
		s.uuids[d.ID] = AppendString(nil, d.UUID)
	}
}

// device appends "device_id" and "uuid", null when it is not known.
func (s *Sink) device(l line, id int) line {
	l = l.integer(`"device_id":`, int64(id))
	if id >= 0 && id < len(s.uuids) && s.uuids[id] != nil {
		l = append(l, `,"uuid":`...)
		return append(l, s.uuids[id]...)
	}
	return append(l, `,"uuid":null`...)
}

// path appends the names of a path, null for nil, and what names do not say.
func (s *Sink) path(l line, key string, p *recorder.Path) line {
	if p == nil {
		return l.null(key)
	}
	return append(append(l, key...), s.paths.get(p).full...)
}

// The methods below append a key, which comes with its comma and colon, and a
// value.

func (l line) text(key, value string) line {
	return AppendString(append(l, key...), value)
}

// textOrNull is null for the empty string.
func (l line) textOrNull(key, value string) line {
	if value == "" {
		return l.null(key)
	}
	return l.text(key, value)
}

func (l line) integer(key string, value int64) line {
	return strconv.AppendInt(append(l, key...), value, 10)
}

func (l line) count(key string, value uint64) line {
	return strconv.AppendUint(append(l, key...), value, 10)
}

func (l line) null(key string) line {
	return append(append(l, key...), `null`...)
}

func (l line) flag(key string, value bool) line {
	return strconv.AppendBool(append(l, key...), value)
}

func (l line) bytes(key string, v gpu.Value) line {
	if !v.Known {
		return l.null(key)
	}
	return l.count(key, v.N)
}

func (l line) change(key string, v gpu.Delta) line {
	if !v.Known {
		return l.null(key)
	}
	return l.integer(key, v.N)
}
