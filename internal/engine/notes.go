// SPDX-License-Identifier: Apache-2.0

package engine

import "github.com/phasetrace/phasetrace/internal/event"

// note is a value that a thread has told at a site of its own, for the attributes
// of what it enters afterwards.
type note struct {
	site       *Site  // that told it; nil: it is not known
	json       []byte // the value
	gaps       uint32 // of the thread, when it was told
	cut        bool
	unreadable bool
}

// known reports whether a thread's value holds at a time: after markers of the thread
// were lost, or the site's probes removed, a newer one may have been missed.
func (n *note) known(th *thread, time int64) bool {
	return n.site != nil && n.gaps == th.gaps && (n.site.until == 0 || time < n.site.until)
}

// note takes what a marker tells of the phases that its thread enters later. A null
// pointer says that there is nothing to tell.
func (m *markers) note(th *thread, s *Site, ev *event.Marker, outside bool) {
	for i := range s.Notes {
		a := &s.Notes[i]
		for a.Number >= len(th.notes) {
			th.notes = append(th.notes, note{})
		}
		n, v := &th.notes[a.Number], &ev.Values[a.Slot]
		if n.site = s; outside || v.NullPointer {
			n.site = nil
			continue
		}
		n.json, n.gaps = appendValue(n.json[:0], &a.Attr, v), th.gaps
		n.cut, n.unreadable = v.Truncated, v.Unreadable
	}
}

// noted returns the value of an attribute that the thread has noted, nil if it is
// not known.
func (th *thread) noted(a *Attr, time int64) *note {
	if a.Slot < len(th.notes) && th.notes[a.Slot].known(th, time) {
		return &th.notes[a.Slot]
	}
	return nil
}
