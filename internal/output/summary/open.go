// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"slices"
	"strconv"
	"time"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// openAttributes is the room that attributes of an open phase have, in columns.
const openAttributes = 100

// open lists the phases that are still open: what a program does now, or hangs in.
func (p *printer) open() {
	s := p.s
	if s.OpenTotal == 0 {
		return
	}
	title := "still open"
	if s.EndReason != "" {
		title += " at the end"
	}
	p.heading(false, "%s %s", human.Plural(s.OpenTotal, "phase"), title)
	shown := s.Open[:min(len(s.Open), p.o.MaxItems)]
	for i := range shown {
		o := &shown[i]
		p.printf("  %s: open for %s  %s", text(o.Path.String()), human.Duration(time.Duration(max(s.Time-o.Since, 0))), whoseIs(o.Thread))
		if len(o.Attributes) > 0 {
			p.b, _ = human.AppendAttributes(append(p.b, "  "...), nil, o.Attributes, openAttributes)
		}
		p.printf("\n")
	}
	p.more(int(s.OpenTotal)-len(shown), "")
}

// whoseIs names a thread and its process.
func whoseIs(t *stream.Thread) string {
	if t == nil || t.Process == nil {
		return human.Unknown
	}
	p, name := t.Process, stream.WithoutActivity(t.Process.Title)
	if name == "" {
		name = p.Comm
	}
	out := "process " + strconv.Itoa(p.PID)
	if name != "" {
		out += " (" + human.Fit(name, 60) + ")"
	}
	if t.TID == p.PID {
		return out
	}
	out += ", thread " + strconv.Itoa(t.TID)
	if t.Name != "" {
		out += " (" + human.Fit(t.Name, 20) + ")"
	}
	return out
}

// withoutOpen returns the figures of the paths, without those that have none because
// all of their scopes were open until the end: these are listed by themselves. Around
// others they stay.
func withoutOpen(s *stream.Summary) []stream.PathStats {
	if len(s.Open) == 0 {
		return s.Paths
	}
	open := make(map[*recorder.Path]uint64)
	for i := range s.Open {
		open[s.Open[i].Path]++
	}
	onlyOpen := func(st *stream.PathStats) bool {
		n := open[st.Path]
		return n > 0 && st.Timed() == 0 && st.Unknown == 0 && n == st.Synthetic+st.Open
	}
	around := make(map[*recorder.Path]bool)
	for i := range s.Paths {
		if st := &s.Paths[i]; !onlyOpen(st) {
			for p := st.Path.Parent(); p != nil; p = p.Parent() {
				around[p] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(s.Paths), func(st stream.PathStats) bool {
		return onlyOpen(&st) && !around[st.Path]
	})
}
