// SPDX-License-Identifier: Apache-2.0

package text

import (
	"fmt"
	"strconv"
	"time"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/phrase"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const maxPath = 120

// alarm begins a line that says that something is wrong.
func (s *Sink) alarm(t int64, thread *stream.Thread, what string) []byte {
	b := s.line(t, thread)
	b = s.colour.Begin(b, human.Red)
	b = append(append(b, "!! "...), what...)
	return s.colour.End(b)
}

// endAlarm ends a line that says that something is wrong, or belongs to no phase.
func (s *Sink) endAlarm(b []byte) error {
	s.fold(b, s.layout.before()+len("!! "))
	return s.out.Spill()
}

// detail writes a line under an alarm.
func (s *Sink) detail(key, value string) {
	const keyWidth = 10
	b := s.out.B
	for range s.layout.time + gap {
		b = append(b, ' ')
	}
	b = append(s.colour.Begin(b, human.Red), "!!"...)
	b = append(s.colour.End(b), ' ')
	from := len(b)
	b = human.AppendPad(append(b, key...), from, keyWidth)
	s.fold(append(append(b, ' '), value...), s.layout.time+gap+len("!! ")+keyWidth+1)
}

// violation writes what broke nesting, the two scopes, the site and the repair.
func (s *Sink) violation(v *stream.Violation) error {
	s.fold(s.alarm(v.Time, v.Thread, "VIOLATION by the traced program: "+v.Err.Kind.Error()), s.layout.before()+len("!! "))
	s.detail("closing", scope(&v.Err.Closing, v.ClosingStart, v.Time))
	if v.Err.Top.Known() {
		s.detail("innermost", scope(&v.Err.Top, v.TopStart, v.Time))
	}
	if v.Marker != nil {
		s.detail("by", site(v.Marker))
	}
	if s.many && v.Thread != nil && v.Thread.Process != nil {
		p := v.Thread.Process
		s.detail("process", fmt.Sprintf("%d %s", p.PID, human.Fit(p.Comm, maxName)))
	}
	if v.Repaired != "" {
		s.detail("repair", human.Fit(phrase.Repair(v.Repaired), maxPath))
	}
	return s.out.Spill()
}

// scope describes a scope of a violation.
func scope(r *recorder.ScopeRef, start, now int64) string {
	if !r.Known() {
		return "an unknown phase"
	}
	text := "(path unknown)"
	if r.Path != nil {
		text = human.Fit(r.Path.String(), maxPath)
	}
	if id := r.ScopeID(); id != "" {
		text += ", scope " + human.Fit(id, maxName)
	}
	if start != 0 {
		text += ", entered " + human.Duration(time.Duration(now-start)) + " before"
	}
	if r.ThreadID != 0 {
		text += " on thread " + strconv.Itoa(r.ThreadID)
	}
	if r.ThreadName != "" {
		text += " (" + human.Fit(r.ThreadName, maxThread) + ")"
	}
	if r.Lane != "" {
		text += ", lane " + human.Fit(r.Lane, 20)
	}
	return text
}

func site(m *stream.Marker) string {
	return fmt.Sprintf("%s:%s at %s+%#x", human.Fit(m.Provider, 40), human.Fit(m.Probe, 60), human.Fit(m.Path, maxPath), m.Offset)
}

// orphan writes one line: an orphan is not a violation.
func (s *Sink) orphan(o *stream.Orphan) error {
	b := s.line(o.Time, o.Thread)
	b = append(b, "<- (orphan exit)"...)
	if o.Marker != nil {
		b = human.AppendFit(append(b, "  "...), o.Marker.Provider, 40)
		b = human.AppendFit(append(b, ':'), o.Marker.Probe, 60)
	}
	return s.endAlarm(append(append(b, "  "...), human.Fit(phrase.Orphan(o.Reason), maxPath)...))
}

// loss writes where records are missing.
func (s *Sink) loss(r *stream.Loss) error {
	b := s.alarm(r.Time, r.Thread, human.Plural(r.Count, "record")+" LOST by phasetrace before this line")
	return s.endAlarm(append(b, ": no fault of the program"...))
}

// dropped writes where records are missing in this output alone.
func (s *Sink) dropped(r *stream.Dropped) error {
	b := s.general(r.Time)
	b = s.colour.Begin(b, human.Red)
	b = append(append(b, "!! "...), human.Plural(r.Counts.Total(), "record")...)
	b = s.colour.End(append(b, " NOT SHOWN"...))
	b = human.AppendDuration(append(b, ": this output was too slow for the next "...), time.Duration(r.Until-r.Time))
	return s.endAlarm(append(b, "; the summary counts them"...))
}

// processChange writes that a process joined or left.
func (s *Sink) processChange(c *stream.ProcessChange) error {
	s.process(c.Process)
	if c.Titled && (c.Before != "" || c.Process.Title == "") {
		return nil // servers change their titles all the time: lines have the new one from now on
	}
	if s.o.Chosen && asItShould(c) {
		return nil
	}
	b := s.general(c.Time)
	p := c.Process
	b = strconv.AppendInt(append(b, "== process "...), int64(p.PID), 10)
	b = human.AppendFit(append(b, ' '), nameOf(p, c.Titled), maxName)
	switch {
	case c.Titled:
		b = human.AppendFit(append(b, " is "...), p.Title, maxPath)
	case c.Started && c.Exec:
		b = human.AppendFit(append(b, " runs "...), p.Exe, maxPath)
	case c.Started && p.Parent != 0:
		b = strconv.AppendInt(append(b, " started, child of "...), int64(p.Parent), 10)
	case c.Started:
		b = append(b, " started"...)
	case c.Removed:
		b = append(b, " is no longer traced"...)
	default:
		b = append(append(b, " ended"...), exitStatus(c)...)
		for i, path := range c.In {
			if i == 0 {
				b = append(b, ", in "...)
			} else {
				b = append(b, " and "...)
			}
			b = human.AppendFit(b, path, maxPath)
		}
	}
	return s.endAlarm(b)
}

// pairChange writes that a pair is traced for another part of the time.
func (s *Sink) pairChange(c *stream.PairChange) error {
	b := s.general(c.Time)
	b = human.AppendFit(append(b, "== "...), phrase.Pair(c.Name, c.Provider, c.Enter), maxName)
	switch {
	case c.Part == 0:
		b = append(b, " is left out"...)
	case c.Part < 1:
		b = fmt.Appendf(b, " is traced for %.2g %% of each second", 100*c.Part)
	default:
		b = append(b, " is traced again"...)
	}
	b = fmt.Appendf(b, ": tracing cost %.2g %% of the program's own CPU time, and may cost %.2g %%", 100*c.Share, 100*c.Budget)
	switch {
	case c.ForGood:
		b = append(b, "; it had to go too often to come back"...)
	case c.Trial:
		b = append(b, "; nothing tells what it costs now"...)
	}
	return s.endAlarm(b)
}

// asItShould reports whether there is nothing wrong with a change of a process: it has
// started, or ended in no phase and with status 0.
func asItShould(c *stream.ProcessChange) bool {
	return c.Started || c.Titled || c.HasExit && c.ExitCode == 0 && len(c.In) == 0
}

// nameOf is what a process is called: its title, if it has one that is known already.
func nameOf(p *stream.Process, fresh bool) string {
	if p.Title == "" || fresh {
		return p.Comm
	}
	return p.Title
}

// exitStatus puts wait(2)'s status into words.
func exitStatus(c *stream.ProcessChange) string {
	if !c.HasExit {
		return ""
	}
	if signal := c.ExitCode & 0x7f; signal != 0 {
		text := " by signal " + strconv.Itoa(signal)
		if c.ExitCode&0x80 != 0 {
			text += ", core dumped"
		}
		return text
	}
	return " with status " + strconv.Itoa(c.ExitCode>>8&0xff)
}

// sample notes the device and writes nothing: boundaries show the readings.
func (s *Sink) sample(g *stream.Sample) error {
	s.device(&g.Device)
	return nil
}
