// SPDX-License-Identifier: Apache-2.0

package text

import (
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	maxName     = 60
	maxThread   = 26 // of a thread's name in a sentence
	maxReadings = 4  // devices shown on a line
)

// Options of the text stream.
type Options struct {
	// Summary is for the summary at the end; its Colour is for the stream too. Its
	// Width is used where Width is nil.
	Summary summary.Options
	// Width returns the columns of the terminal that shows the stream; 0 for none.
	// It is asked at the start and once a flush: people resize their terminals.
	Width func() int
	// ExitsOnly says that no enters come: exits then tell what enters do.
	ExitsOnly bool
	// Chosen says that only some boundaries come, those that somebody looks for.
	// Processes that come and go as they should are left out then.
	Chosen bool
}

// Sink writes text. It is a stream.Sink for one goroutine. A failed write sticks
// and is returned by every later call.
type Sink struct {
	out    *output.Buffer
	o      Options
	colour human.Palette
	layout layout
	begin  int64 // ns, CLOCK_MONOTONIC: what times are told from
	began  bool  // a time has been told
	headed bool
	many   bool     // more than one process was seen
	titled bool     // one with a title was seen
	first  int      // PID of the first process
	labels []string // of devices

	attributes, tail, whole, both []byte // scratch
}

var _ stream.Sink = (*Sink)(nil)

// New returns a sink over w, which it does not close. The name says in errors
// what w is: a file's name or "standard output".
func New(w io.Writer, name string, o Options) *Sink {
	s := &Sink{out: output.NewBuffer(w, name), o: o, colour: human.Palette(o.Summary.Colour)}
	s.measure()
	return s
}

// measure lays lines out for the terminal, and the processes, as they are now.
func (s *Sink) measure() {
	if s.o.Width != nil {
		s.o.Summary.Width = s.o.Width()
	}
	titled := s.many && s.titled
	if s.o.Summary.Width == s.layout.width && titled == s.layout.titled && s.layout.room != 0 {
		return
	}
	again := s.headed && titled != s.layout.titled
	if s.layout = layoutFor(s.o.Summary.Width, titled); again {
		s.headed = false // columns have moved, once
		s.head()
	}
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
func (s *Sink) Flush() error {
	s.measure()
	return s.out.Flush()
}

// end ends the line that was begun in the sink's buffer and is b's last. On a
// terminal it is cut to its width.
func (s *Sink) end(b []byte) error {
	start := len(s.out.B)
	if w := s.layout.width; w > 0 && human.Columns(b[start:]) > w {
		s.whole = append(s.whole[:0], b[start:]...)
		b = human.AppendCut(b[:start], s.whole, w)
	}
	s.out.B = append(b, '\n')
	return s.out.Spill()
}

// fold takes the line that was begun in the sink's buffer and is b's last, and that
// says what is wrong: on a terminal it is told whole, on as many lines as that takes,
// which are indented. A call of Spill must follow.
func (s *Sink) fold(b []byte, indent int) {
	if start := len(s.out.B); s.layout.width > 0 {
		s.whole = append(s.whole[:0], b[start:]...)
		b = human.AppendFolded(b[:start], s.whole, s.layout.width, indent)
	}
	s.out.B = append(b, '\n')
}

// Start writes the head. On a terminal that comes with the first line, under what
// is said about the start; a file that cannot be written to is found out at once.
func (s *Sink) Start(r *stream.Start) error {
	s.begin = r.Time
	for _, p := range r.Processes {
		s.process(p)
	}
	for i := range r.Devices {
		s.device(&r.Devices[i])
	}
	if s.measure(); s.layout.width == 0 {
		s.head()
	}
	return s.Flush()
}

// head writes the column heads, once.
func (s *Sink) head() {
	if s.headed {
		return
	}
	s.headed = true
	b := s.colour.Begin(s.out.B, human.Bold)
	from := len(b)
	b = append(human.AppendPad(b, from, s.layout.time-len("seconds")), "seconds  "...)
	from = len(b)
	b = append(human.AppendPad(append(b, s.threadHead()...), from, s.layout.thread), "  phase"...)
	s.out.B = append(s.colour.End(b), '\n')
}

// threadHead is the head of the column of threads. Of one process it says which:
// its id is not on every line.
func (s *Sink) threadHead() string {
	switch {
	case s.many:
		return "pid and thread"
	case s.first != 0:
		return "process " + strconv.Itoa(s.first)
	}
	return "thread"
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
	s.titled = s.titled || p.Title != ""
}

func (s *Sink) device(d *gpu.Device) {
	for len(s.labels) <= d.ID {
		s.labels = append(s.labels, "gpu"+strconv.Itoa(len(s.labels)))
	}
	if d.ID >= 0 {
		s.labels[d.ID] = summary.Label(d)
	}
}

// stamp begins a line with its time. The first markers may be hit while others are
// being attached, before the stream begins: then times are told from the first.
func (s *Sink) stamp(t int64) []byte {
	if !s.began {
		s.begin, s.began = min(s.begin, t), true
		s.head()
	}
	b := s.colour.Begin(s.out.B, human.Dim)
	b = human.AppendSeconds(b, time.Duration(max(t-s.begin, 0)), s.layout.time)
	return append(s.colour.End(b), "  "...)
}

// general begins a line that belongs to no thread.
func (s *Sink) general(t int64) []byte {
	b := s.stamp(t)
	return append(human.AppendPad(b, len(b), s.layout.thread), "  "...)
}

// line begins a line that belongs to a thread, which may be unknown.
func (s *Sink) line(t int64, thread *stream.Thread) []byte {
	b := s.stamp(t)
	from := len(b)
	b = s.thread(b, thread, s.layout.thread)
	return append(human.AppendPad(b, from, s.layout.thread), "  "...)
}

// thread appends "name/tid" in at most width columns, with the process in front
// when there are several. The first thread of a process has the process's id, which
// is not told twice.
func (s *Sink) thread(b []byte, t *stream.Thread, width int) []byte {
	if t == nil {
		return append(b, human.Unknown...)
	}
	if t.Process != nil {
		s.process(t.Process)
	}
	first, name := t.Process != nil && t.TID == t.Process.PID, t.Name
	if s.many {
		name = nameInColumn(t)
	}
	if s.many && t.Process != nil {
		b = strconv.AppendInt(b, int64(t.Process.PID), 10)
		width -= digits(t.Process.PID)
		if first && name == "" {
			return b
		}
		b, width = append(b, ' '), width-1
	}
	if first && name != "" {
		return human.AppendFit(b, name, width)
	}
	if room := width - 1 - digits(t.TID); name != "" && room > 1 {
		b = append(human.AppendFit(b, name, room), '/')
	}
	return strconv.AppendInt(b, int64(t.TID), 10)
}

// nameInColumn is what a thread of one of several processes is called where there is little room. The first thread
// of a process with a title goes by that, without the program's name in front:
// "checkpointer" for "postgres: checkpointer". What it is doing may have changed since
// the title was read.
func nameInColumn(t *stream.Thread) string {
	p := t.Process
	if p == nil || p.Title == "" || t.TID != p.PID || t.Name != p.Comm {
		return t.Name
	}
	return strings.TrimPrefix(stream.WithoutActivity(p.Title), p.Comm+": ")
}

func digits(n int) int {
	d := 1
	for ; n > 9; n /= 10 {
		d++
	}
	return d
}
