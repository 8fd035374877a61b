// SPDX-License-Identifier: Apache-2.0

package text

import (
	"strconv"
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
	b := s.line(r.Time, thread)
	from := len(b)
	depth := r.Path.Depth()
	for range min(depth-1, maxIndent) {
		b = append(b, "  "...)
	}
	if depth-1 > maxIndent {
		b = append(strconv.AppendInt(append(b, '['), int64(depth), 10), "] "...)
	}
	arrow, colour := "-> ", human.Green
	if exit {
		arrow, colour = "<- ", human.Cyan
	}
	plain := human.WidthOf(b[from:]) // colour codes have no width
	b = append(s.colour.Begin(b, colour), arrow...)
	name := len(b)
	b = human.AppendFit(b, r.Path.Name(), maxName)
	plain += len(arrow) + human.WidthOf(b[name:])
	b = s.colour.End(b)
	for ; plain < phaseWidth; plain++ {
		b = append(b, ' ')
	}
	return s.end(trim(s.details(b, r, exit)))
}

// trim takes trailing spaces away.
func trim(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

func (s *Sink) details(b []byte, r *stream.Boundary, exit bool) []byte {
	if exit {
		from := len(b)
		if b = append(b, "  "...); r.Doubt == stream.DoubtNone {
			b = human.AppendDuration(b, time.Duration(r.Duration))
		} else {
			b = append(b, human.Unknown...)
		}
		b = human.AppendPad(b, from, 2+8)
	}
	if r.Doubt != stream.DoubtNone {
		b = s.colour.Begin(append(b, "  "...), human.Yellow)
		b = append(append(b, "[duration not known: "...), doubt(r.Doubt)...)
		b = s.colour.End(append(b, ']'))
	} else if r.Synthetic != stream.ReasonNone {
		b = s.colour.Begin(append(b, "  "...), human.Yellow)
		b = append(append(b, '['), verb(exit)...)
		b = append(append(b, " by phasetrace: "...), synthetic(r.Synthetic)...)
		b = s.colour.End(append(b, ']'))
	}
	if r.ExitThread != nil && r.Thread != nil {
		b = append(b, "  entered on "...)
		b = s.thread(b, r.Thread)
	}
	if r.Lane != "" {
		b = human.AppendFit(append(b, "  lane="...), r.Lane, 20)
	}
	attributes := r.Attributes
	if exit {
		attributes = r.ExitAttributes
	}
	if len(attributes) > 0 {
		b, s.room = appendAttributes(append(b, "  "...), s.room, attributes, attributeWidth)
	}
	b = cuts(b, r.Cut)
	b = s.readings(b, r, exit)
	return resident(b, &r.Resident)
}

func verb(exit bool) string {
	if exit {
		return "closed"
	}
	return "opened"
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
func (s *Sink) readings(b []byte, r *stream.Boundary, exit bool) []byte {
	shown, more := 0, 0
	for i := range r.GPU {
		g := &r.GPU[i]
		switch {
		case g.Status == gpu.StatusNotUsed:
		case shown == maxReadings:
			more++
		default:
			shown++
			b = s.reading(append(b, "  "...), g, exit)
		}
	}
	if more > 0 {
		b = append(strconv.AppendInt(append(b, "  +"...), int64(more), 10), " GPUs"...)
	}
	return b
}

func (s *Sink) reading(b []byte, g *gpu.Reading, exit bool) []byte {
	if g.Device >= 0 && g.Device < len(s.labels) {
		b = append(b, s.labels[g.Device]...)
	} else {
		b = strconv.AppendInt(append(b, "gpu"...), int64(g.Device), 10)
	}
	b = append(b, ' ')
	if g.Used.Known {
		b = human.AppendBytes(b, g.Used.N)
		b = append(b, " ("...)
	} else {
		b = append(append(append(b, human.Unknown...), " ("...), g.Status.String()...)
		b = append(b, ", "...)
	}
	if exit {
		if g.Change.Known {
			b = human.AppendChange(b, g.Change.N)
		} else {
			b = append(b, "change "+human.Unknown...)
		}
		b = append(b, ", peak "...)
		if g.Peak.Known {
			b = human.AppendBytes(b, g.Peak.N)
		} else {
			b = append(b, human.Unknown...)
		}
		b = append(b, ", "...)
	}
	b = append(b, "age "...)
	if g.Status == gpu.StatusNoSample {
		b = append(b, human.Unknown...)
	} else {
		b = human.AppendDuration(b, time.Duration(g.Age))
	}
	return append(b, ')')
}

// resident appends the resident set size if it changed within the phase;
// otherwise every line would repeat the same number. JSON lines have them all.
func resident(b []byte, r *stream.Resident) []byte {
	if !r.Known || !r.ChangeKnown || r.Change == 0 {
		return b
	}
	b = append(b, "  rss "...)
	if r.Error > 0 {
		b = append(b, '~')
	}
	b = human.AppendBytes(b, r.Bytes)
	b = human.AppendChange(append(b, " ("...), r.Change)
	return append(b, ')')
}
