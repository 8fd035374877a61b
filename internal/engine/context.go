// SPDX-License-Identifier: Apache-2.0

package engine

import "github.com/phasetrace/phasetrace/internal/event"

// contextValue is a value that a thread has told at a site of its own, for the attributes
// of what it enters afterwards.
type contextValue struct {
	site       *Site  // that told it; nil: it is not known
	json       []byte // the value
	gaps       uint32 // of the thread, when it was told
	cut        bool
	unreadable bool
}

// known reports whether a thread's value holds at a time: after markers of the thread
// were lost, or the site's probes removed, a newer one may have been missed.
func (n *contextValue) known(th *thread, time int64) bool {
	return n.site != nil && n.gaps == th.gaps && (n.site.until == 0 || time < n.site.until)
}

// setContext takes what a marker tells of the phases that its thread enters later. A null
// pointer says that there is nothing to tell.
func (m *markers) setContext(th *thread, s *Site, ev *event.Marker, outside bool) {
	for i := range s.Context {
		a := &s.Context[i]
		for a.Number >= len(th.context) {
			th.context = append(th.context, contextValue{})
		}
		n, v := &th.context[a.Number], &ev.Values[a.Slot]
		if n.site = s; outside || v.NullPointer {
			n.site = nil
			continue
		}
		n.json, n.gaps = appendValue(n.json[:0], &a.Attr, v), th.gaps
		n.cut, n.unreadable = v.Truncated, v.Unreadable
	}
}

// fromContext returns the value of an attribute that the thread has in its context, nil if it is
// not known.
func (th *thread) fromContext(a *Attr, time int64) *contextValue {
	if a.Slot < len(th.context) && th.context[a.Slot].known(th, time) {
		return &th.context[a.Slot]
	}
	return nil
}
