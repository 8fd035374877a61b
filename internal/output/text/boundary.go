// SPDX-License-Identifier: Apache-2.0

package text

import (
	"strconv"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// boundary writes one line.
func (s *Sink) boundary(r *stream.Boundary) error {
	exit := r.Action == recorder.Exit
	thread := r.Thread
	if r.ExitThread != nil {
		thread = r.ExitThread
	}
	start := len(s.out.B)
	b := s.phase(s.line(r.Time, thread), r, exit)
	if exit {
		for n := human.Columns(b[start:]); n < s.layout.before()+s.layout.phase; n++ {
			b = append(b, ' ')
		}
		from := len(b) + gap
		if b = append(b, "  "...); r.Doubt == stream.DoubtNone {
			b = human.AppendDuration(b, time.Duration(r.Duration))
		} else {
			b = append(b, human.Unknown...)
		}
		b = human.AppendPad(b, from, durationWidth)
	}
	return s.end(trim(s.details(s.origin(b, r, exit), r, exit)))
}

// phase appends indentation, arrow and name.
func (s *Sink) phase(b []byte, r *stream.Boundary, exit bool) []byte {
	from, depth := len(b), r.Path.Depth()
	for range min(depth-1, s.layout.indent) {
		b = append(b, "  "...)
	}
	if depth-1 > s.layout.indent {
		b = append(strconv.AppendInt(append(b, '['), int64(depth), 10), "] "...)
	}
	before := s.layout.before() + len(b) - from
	arrow, colour := "-> ", human.Green
	if exit {
		arrow, colour = "<- ", human.Cyan
		before += gap + durationWidth
	}
	b = append(s.colour.Begin(b, colour), arrow...)
	b = human.AppendFit(b, r.Path.Name(), s.layout.fit(maxName, before+len(arrow)))
	b = s.colour.End(b)
	if exit && r.Synthetic != stream.ReasonProcessExit { // which is told behind the duration
		if how := r.Outcome(); how != "" {
			b = human.AppendFit(append(b, ' '), how, maxOutcome)
		}
	}
	return b
}

// maxOutcome is the longest word for how a phase ended, in columns.
const maxOutcome = 24

// trim takes trailing spaces away.
func trim(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// origin appends what no marker of this thread has told.
func (s *Sink) origin(b []byte, r *stream.Boundary, exit bool) []byte {
	switch {
	case r.Doubt != stream.DoubtNone:
		b = s.colour.Begin(append(b, "  "...), human.Yellow)
		b = s.doubt(append(b, '['), r.Doubt)
		b = s.colour.End(append(b, ']'))
	case r.Synthetic == stream.ReasonFailed: // told with the name
	case r.Synthetic != stream.ReasonNone:
		b = s.colour.Begin(append(b, "  "...), human.Yellow)
		b = s.synthetic(append(b, '['), r.Synthetic, exit)
		b = s.colour.End(append(b, ']'))
	}
	if r.ExitThread != nil && r.Thread != nil {
		from := len(b)
		b = s.thread(append(b, "  entered on "...), r.Thread, maxThread)
		if !s.fits(b) {
			b = strconv.AppendInt(append(b[:from], "  from "...), int64(r.Thread.TID), 10)
		}
	}
	// The lane is told at the enter. A keyed phase has one of its own, made up for it.
	if r.Lane != "" && !r.Keyed && (!exit || s.o.ExitsOnly) {
		b = human.AppendFit(append(b, "  lane="...), r.Lane, 20)
	}
	return b
}

// fits reports whether a line that was begun in the sink's buffer has room.
func (s *Sink) fits(b []byte) bool {
	return s.layout.width == 0 || human.Columns(b[len(s.out.B):]) <= s.layout.width
}

// details appends attributes, which take the room that is left, and figures.
func (s *Sink) details(b []byte, r *stream.Boundary, exit bool) []byte {
	attributes := r.Attributes
	switch {
	case exit && s.o.ExitsOnly:
		attributes = s.joined(r.Attributes, r.ExitAttributes)
	case exit:
		attributes = r.ExitAttributes
	}
	left := s.layout.room - human.Columns(b[len(s.out.B):])
	reserved := 0
	if len(attributes) > 0 {
		reserved = gap + min(len(attributes), max(left/2, minAttributes))
	}
	tail := s.figures(left-reserved, r, exit)
	if len(attributes) > 0 {
		room := left - gap
		if s.layout.width > 0 { // a file's lines can be longer
			room -= human.Columns(tail)
		}
		room = max(room, minAttributes)
		b, s.attributes = human.AppendAttributes(append(b, "  "...), s.attributes, attributes, room)
	}
	return append(b, tail...)
}

// joined returns the members of two objects as one. It is valid until the next call.
func (s *Sink) joined(enter, exit []byte) []byte {
	switch {
	case len(enter) < len("{}") || enter[len(enter)-1] != '}' || len(exit) < len("{}") || exit[0] != '{':
		if len(enter) == 0 {
			return exit
		}
		return enter
	case len(enter) == len("{}"):
		return exit
	case len(exit) == len("{}"):
		return enter
	}
	s.both = append(append(s.both[:0], enter[:len(enter)-1]...), ',')
	s.both = append(s.both, exit[1:]...)
	return s.both
}

// figures returns what stands behind the attributes. On a terminal that is each
// detail that has room, in short where it has little, and an ellipsis for the
// others.
func (s *Sink) figures(left int, r *stream.Boundary, exit bool) []byte {
	f := fitter{b: s.tail[:0], left: left - ellipsisWidth, all: s.layout.width == 0}
	f.b = cuts(f.b, r.Cut)
	f.more = !f.fit(0)
	s.readings(&f, r, exit)
	s.resident(&f, &r.Resident)
	if f.more {
		f.b = append(f.b, " "+human.Ellipsis...)
	}
	s.tail = f.b
	return f.b
}

// ellipsisWidth is the room kept for the ellipsis that stands for what has none.
const ellipsisWidth = 2

// fitter takes details while there is room for them.
type fitter struct {
	b    []byte
	left int // columns, less ellipsisWidth
	all  bool
	more bool // some had no room: nothing comes behind
}

// fit takes back what was appended since from if there is no room for it, and
// reports whether there is.
func (f *fitter) fit(from int) bool {
	n := human.Columns(f.b[from:])
	if f.more || !f.all && n > f.left {
		f.b = f.b[:from]
		return false
	}
	f.left -= n
	return true
}

// synthetic says why phasetrace closed, or opened, a phase itself.
func (s *Sink) synthetic(b []byte, why stream.Reason, exit bool) []byte {
	from, verb := len(b), "opened"
	if exit {
		verb = "closed"
	}
	b = append(append(append(b, verb...), " by phasetrace: "...), synthetic(why)...)
	if s.fits(append(b, ']')) {
		return b
	}
	return human.AppendFit(b[:from], strings.ReplaceAll(string(why), "_", " "), maxName)
}

// synthetic explains a reason.
func synthetic(r stream.Reason) string {
	switch r {
	case stream.ReasonUnwound:
		return "unwound, an outer phase ended"
	case stream.ReasonAbandoned:
		return "abandoned, its exit never came"
	case stream.ReasonKeyReused:
		return "its key was used again while it was open"
	case stream.ReasonThreadExit:
		return "its thread ended"
	case stream.ReasonProcessExit:
		return "its process ended"
	case stream.ReasonExec:
		return "its process ran another program"
	case stream.ReasonSessionEnd:
		return "tracing ended"
	case stream.ReasonLost:
		return "its own record was lost"
	case stream.ReasonProbesRemoved:
		return "its file was written to, and its probes removed before that"
	}
	return human.Escape(string(r))
}

// doubt explains why a duration is not known.
// doubt says why nobody knows how long a phase took.
func (s *Sink) doubt(b []byte, why stream.Doubt) []byte {
	from := len(b)
	b = append(append(b, "duration not known: "...), doubt(why)...)
	if s.fits(append(b, ']')) {
		return b
	}
	return human.AppendFit(b[:from], strings.ReplaceAll(string(why), "_", " "), maxName)
}

func doubt(d stream.Doubt) string {
	switch d {
	case stream.DoubtKeyReused:
		return "its key was used again while it was open"
	case stream.DoubtOverlapping:
		return "this exit has the arguments of another open phase"
	}
	return human.Escape(string(d))
}

func cuts(b []byte, c recorder.Cut) []byte {
	if c&recorder.CutName != 0 {
		b = append(b, "  [name cut]"...)
	}
	if c&recorder.CutPath != 0 {
		b = append(b, "  [too many phases]"...)
	}
	if c&recorder.CutAttributes != 0 {
		b = append(b, "  [attributes too long]"...)
	}
	return b
}

// readings appends the devices' readings, without those that the program does not
// use.
func (s *Sink) readings(f *fitter, r *stream.Boundary, exit bool) {
	shown, more := 0, 0
	for i := range r.GPU {
		g := &r.GPU[i]
		switch {
		case g.Status == gpu.StatusNotUsed:
		case shown == maxReadings:
			more++
		default:
			shown++
			s.fitReading(f, g, exit)
		}
	}
	if more > 0 {
		from := len(f.b)
		f.b = append(strconv.AppendInt(append(f.b, "  +"...), int64(more), 10), " GPUs"...)
		f.more = !f.fit(from)
	}
}

// fitReading appends a reading, or its short form.
func (s *Sink) fitReading(f *fitter, g *gpu.Reading, exit bool) {
	from := len(f.b)
	f.b = s.label(append(f.b, "  "...), g.Device)
	label := len(f.b)
	if f.b = reading(f.b, g, exit); !f.fit(from) {
		f.b = briefReading(f.b[:label], g, exit)
		f.more = !f.fit(from)
	}
}

// label appends a device's name and a space.
func (s *Sink) label(b []byte, device int) []byte {
	if device >= 0 && device < len(s.labels) {
		b = append(b, s.labels[device]...)
	} else {
		b = strconv.AppendInt(append(b, "gpu"...), int64(device), 10)
	}
	return append(b, ' ')
}

func reading(b []byte, g *gpu.Reading, exit bool) []byte {
	if g.Used.Known {
		b = human.AppendBytes(about(b, g.Doubt), g.Used.N)
		b = append(b, " ("...)
	} else {
		b = append(append(append(b, human.Unknown...), " ("...), g.Status.String()...)
		b = append(b, ", "...)
	}
	if exit {
		b = append(span(b, g), ", "...)
	}
	b = append(b, "age "...)
	if g.Status == gpu.StatusNoSample {
		b = append(b, human.Unknown...)
	} else {
		b = human.AppendDuration(b, time.Duration(g.Age))
	}
	return append(b, ')')
}

// about marks what is not certain.
func about(b []byte, d gpu.Doubt) []byte {
	if d != 0 {
		b = append(b, '~')
	}
	return b
}

// span appends what changed within a phase.
func span(b []byte, g *gpu.Reading) []byte {
	if g.Used.Known && !g.Change.Known && !g.Peak.Known {
		return append(b, "too short to tell"...) // it had no read of its own
	}
	b = append(change(b, g, " shared"), ", peak "...)
	if !g.Peak.Known {
		return append(b, human.Unknown...)
	}
	b = append(human.AppendBytes(b, g.Peak.N), " of "...)
	if b = append(human.AppendCount(b, g.Samples), " read"...); g.Samples != 1 {
		b = append(b, 's')
	}
	return b
}

// change appends by how much memory changed within a phase: about, if the reads do
// not settle it, and shared, if others may have had a part in it.
func change(b []byte, g *gpu.Reading, shared string) []byte {
	if !g.Change.Known {
		return append(b, "change "+human.Unknown...)
	}
	b = human.AppendChange(about(b, g.ChangeDoubt&gpu.DoubtReads), g.Change.N)
	if g.ChangeDoubt&gpu.DoubtShared != 0 {
		b = append(b, shared...)
	}
	return b
}

// briefReading appends the change within the phase at its exit, and what is used at
// its enter.
func briefReading(b []byte, g *gpu.Reading, exit bool) []byte {
	switch {
	case exit && g.Change.Known:
		return change(b, g, "§")
	case !exit && g.Used.Known:
		return human.AppendBytes(about(b, g.Doubt), g.Used.N)
	}
	return append(b, human.Unknown...)
}

// resident appends the resident set size if it changed within the phase;
// otherwise every line would repeat the same number. JSON lines have them all.
func (s *Sink) resident(f *fitter, r *stream.Resident) {
	if !r.Known || !r.ChangeKnown || r.Change == 0 {
		return
	}
	from := len(f.b)
	f.b = append(f.b, "  rss "...)
	if r.Error > 0 {
		f.b = append(f.b, '~')
	}
	figure := len(f.b)
	f.left += ellipsisWidth // nothing comes behind
	f.b = human.AppendBytes(f.b, r.Bytes)
	f.b = append(human.AppendChange(append(f.b, " ("...), r.Change), ')')
	if !f.fit(from) {
		f.b = human.AppendChange(f.b[:figure], r.Change)
		f.more = !f.fit(from)
	}
}
