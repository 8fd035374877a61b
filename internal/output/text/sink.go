// SPDX-License-Identifier: Apache-2.0

package text

import (
	"io"
	"strconv"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	timeWidth      = 12 // of the first column
	minThreadWidth = 16
	maxThreadWidth = 26
	phaseWidth     = 34 // of indentation, arrow and name, before details
	maxName        = 60
	maxIndent      = 12 // levels; deeper phases show their depth
	attributeWidth = 72
	maxReadings    = 4 // devices shown on a line
)

// Options of the text stream.
type Options struct {
	// Summary is for the summary at the end; its Colour is for the stream too.
	Summary summary.Options
}

// Sink writes text. It is a stream.Sink for one goroutine. A failed write sticks
// and is returned by every later call.
type Sink struct {
	out         *output.Buffer
	o           Options
	colour      human.Palette
	begin       int64    // ns, CLOCK_MONOTONIC
	threadWidth int      // of the second column; grows
	many        bool     // more than one process was seen
	first       int      // PID of the first process
	labels      []string // of devices
	room        []byte   // scratch
}

var _ stream.Sink = (*Sink)(nil)

// New returns a sink over w, which it does not close. The name says in errors
// what w is: a file's name or "standard output".
func New(w io.Writer, name string, o Options) *Sink {
	return &Sink{out: output.NewBuffer(w, name), o: o, colour: human.Palette(o.Summary.Colour), threadWidth: minThreadWidth}
}

// Record writes one record.
func (s *Sink) Record(r stream.Record) error {
	switch r := r.(type) {
	case *stream.Boundary:
		return s.boundary(r)
	case *stream.Violation:
		return s.violation(r)
	case *stream.Orphan:
		return s.orphan(r)
	case *stream.Loss:
		return s.loss(r)
	case *stream.ProcessChange:
		return s.processChange(r)
	case *stream.Sample:
		return s.sample(r)
	case *stream.Dropped:
		return s.dropped(r)
	}
	return nil
}

// Flush writes the lines so far out.
func (s *Sink) Flush() error { return s.out.Flush() }

// end ends the lines b, which began in the sink's buffer.
func (s *Sink) end(b []byte) error {
	s.out.B = append(b, '\n')
	return s.out.Spill()
}

// Start writes the column heads.
func (s *Sink) Start(r *stream.Start) error {
	s.begin = r.Time
	for _, p := range r.Processes {
		s.process(p)
	}
	for i := range r.Devices {
		s.device(&r.Devices[i])
	}
	b := s.colour.Begin(s.out.B, human.Bold)
	b = append(b, "     seconds  thread            phase"...)
	if err := s.end(s.colour.End(b)); err != nil {
		return err
	}
	return s.Flush()
}

// End writes the summary.
func (s *Sink) End(r *stream.Summary) error {
	s.out.B = append(s.out.B, '\n')
	s.out.B = summary.Append(s.out.B, r, s.o.Summary)
	return s.Flush()
}

// process notes a process: from the second on, lines name it.
func (s *Sink) process(p *stream.Process) {
	switch {
	case s.first == 0:
		s.first = p.PID
	case p.PID != s.first:
		s.many = true
	}
}

func (s *Sink) device(d *gpu.Device) {
	for len(s.labels) <= d.ID {
		s.labels = append(s.labels, "gpu"+strconv.Itoa(len(s.labels)))
	}
	if d.ID >= 0 {
		s.labels[d.ID] = summary.Label(d)
	}
}

// stamp begins a line with its time.
func (s *Sink) stamp(t int64) []byte {
	b := s.colour.Begin(s.out.B, human.Dim)
	b = human.AppendSeconds(b, time.Duration(t-s.begin), timeWidth)
	return append(s.colour.End(b), "  "...)
}

// general begins a line that belongs to no thread.
func (s *Sink) general(t int64) []byte {
	b := s.stamp(t)
	return append(human.AppendPad(b, len(b), s.threadWidth), "  "...)
}

// line begins a line that belongs to a thread, which may be unknown.
func (s *Sink) line(t int64, thread *stream.Thread) []byte {
	b := s.stamp(t)
	from := len(b)
	b = s.thread(b, thread)
	return append(human.AppendPad(b, from, s.threadWidth), "  "...)
}

// thread appends "name/tid", with the process in front when there are several,
// and widens the column when it must.
func (s *Sink) thread(b []byte, t *stream.Thread) []byte {
	if t == nil {
		return append(b, human.Unknown...)
	}
	if t.Process != nil {
		s.process(t.Process)
	}
	from := len(b)
	tail := 1 + digits(t.TID)
	if s.many && t.Process != nil {
		b = append(strconv.AppendInt(b, int64(t.Process.PID), 10), ' ')
		tail += len(b) - from
	}
	if t.Name != "" {
		b = append(human.AppendFit(b, t.Name, maxThreadWidth-tail), '/')
	}
	b = strconv.AppendInt(b, int64(t.TID), 10)
	if width := human.WidthOf(b[from:]); width > s.threadWidth {
		s.threadWidth = min(width, maxThreadWidth)
	}
	return b
}

func digits(n int) int {
	d := 1
	for ; n > 9; n /= 10 {
		d++
	}
	return d
}
