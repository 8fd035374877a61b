// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"strings"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// recordText is a record as one line, for the scenarios: its time, what it is,
// the thread, and what there is to tell.
func recordText(r stream.Record) string {
	switch r := r.(type) {
	case *stream.Boundary:
		return boundaryText(r)
	case *stream.Violation:
		return fmt.Sprintf("%d violation tid=%d %s: %s", r.Time, r.Thread.TID, defectText(r.Err), r.Repaired)
	case *stream.Orphan:
		return fmt.Sprintf("%d orphan tid=%d %s %s", r.Time, r.Thread.TID, r.Marker.Probe, r.Reason)
	case *stream.Loss:
		return fmt.Sprintf("%d loss tid=%d count=%d", r.Time, r.Thread.TID, r.Count)
	case *stream.ProcessChange:
		return processText(r)
	}
	return fmt.Sprintf("%T", r)
}

func boundaryText(b *stream.Boundary) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d %v tid=%d %q", b.Time, b.Action, b.ThreadID, b.Path.String())
	if b.Action == recorder.Exit {
		fmt.Fprintf(&s, " took=%d self=%d", b.Duration, b.Self)
	}
	if b.Lane != "" {
		fmt.Fprintf(&s, " lane=%s", b.Lane)
	}
	if b.Rank != 0 {
		fmt.Fprintf(&s, " rank=%d", b.Rank)
	}
	if b.ExitThread != nil {
		fmt.Fprintf(&s, " by=%d", b.ExitThread.TID)
	}
	if c := b.Counters; c != (stream.Counters{}) {
		fmt.Fprintf(&s, " switches=%d/%d faults=%d/%d", c.VoluntarySwitches, c.InvoluntarySwitches, c.MinorFaults, c.MajorFaults)
	}
	if m := b.Resident; m.Known {
		fmt.Fprintf(&s, " resident=%d", m.Bytes)
		if m.ChangeKnown {
			fmt.Fprintf(&s, " change=%+d", m.Change)
		}
	}
	if b.Action == recorder.Enter && len(b.Attributes) > 0 {
		fmt.Fprintf(&s, " %s", b.Attributes)
	}
	if b.Synthetic != stream.ReasonNone {
		fmt.Fprintf(&s, " synthetic=%s", b.Synthetic)
	}
	return s.String()
}

// defectText names what is wrong and the two scopes of it.
func defectText(e *recorder.ProtocolError) string {
	return fmt.Sprintf("%s closing=%s top=%s", e.Kind.String(), scopeText(&e.Closing), scopeText(&e.Top))
}

func scopeText(s *recorder.ScopeRef) string {
	if s.Path == nil {
		return "none"
	}
	return fmt.Sprintf("%q", s.Path.String())
}

func processText(c *stream.ProcessChange) string {
	what := "ended"
	switch {
	case c.Exec:
		what = "exec"
	case c.Started:
		what = "started"
	}
	text := fmt.Sprintf("%d process pid=%d %s comm=%q", c.Time, c.Process.PID, what, c.Process.Comm)
	if c.Process.Parent != 0 {
		text += fmt.Sprintf(" parent=%d", c.Process.Parent)
	}
	if c.HasExit {
		text += fmt.Sprintf(" status=%d", c.ExitCode)
	}
	if len(c.In) > 0 {
		text += fmt.Sprintf(" in=%q", c.In)
	}
	return text
}

// violations is the section of that name: each defect, and how often it was
// found.
func violations(list []stream.ViolationCount) string {
	if len(list) == 0 {
		return "none\n"
	}
	var s strings.Builder
	for _, v := range list {
		fmt.Fprintf(&s, "%d × %s\n", v.Count, defectText(v.First.Err))
	}
	return s.String()
}
