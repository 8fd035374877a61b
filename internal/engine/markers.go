// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// markers takes markers through judging and repairing.
type markers struct {
	*state
	judge  judge
	repair *repairer
	keyed  *keyedRepairer
	lives  *lives
}

func (m *markers) handle(ev *event.Marker) {
	if ev.Time >= m.sites.removal {
		m.closeRemoved(ev.Time)
	}
	th := m.tasks.thread(ev.TID)
	if th == nil {
		m.unknown()
		return
	}
	s := m.sites.list[ev.Site]
	s.hits++
	th.process.tally.hit(ev.Site)
	m.stats.Markers++
	if ev.Seq != th.nextSeq || ev.Program != th.program {
		m.gap(th, ev)
	}
	th.nextSeq, th.time = ev.Seq+1, ev.Time
	outside := m.sites.outside(th.process, s, ev.Time)
	if outside {
		m.stats.Outside++
	}
	switch {
	case s.Effect == probe.Point:
		if !outside {
			m.repair.reset(th, s, ev)
		}
		m.setContext(th, s, ev, outside)
	case s.Pair.Keyed:
		if !outside {
			m.key(th, s, ev)
		}
	default:
		m.nested(th, s, ev, outside)
	}
}

// unknown counts a marker of a thread that is not known.
func (m *markers) unknown() {
	if m.stats.ThreadsRefused+m.stats.ProcessesRefused > 0 {
		m.stats.Untraced++
		return
	}
	m.stats.UnknownThreads++ // its identity was never seen: cannot happen
}

// gap acts on what happened on a thread between two delivered markers.
func (m *markers) gap(th *thread, ev *event.Marker) {
	c := th.follows(ev.Seq, ev.Program)
	th.gaps++
	switch {
	case c.program:
		m.lives.missedExec(th, ev)
	case c.backwards:
		m.stats.Backwards++ // the ring keeps a thread's order: cannot happen
	default:
		m.repair.lose(th, c.lost, ev.Time)
	}
}

// nested takes a marker of a strictly nested pair.
func (m *markers) nested(th *thread, s *Site, ev *event.Marker, outside bool) {
	ln := th.lane(ev.Lane)
	if !outside && th.misaligned(ln, ev) {
		m.repair.realign(th, ln, s, ev, m.judge.alignment(th, ln, s, ev))
	}
	ln.count.depth, ln.time = ev.Depth, ev.Time
	switch {
	case outside:
	case ev.Effect == probe.Enter:
		m.takeRank(th, s, ev)
		m.repair.dropStale(th, ln, s, ev)
		m.repair.enter(th, ln, s, ev, m.judge.enter(ln))
	default:
		m.repair.exit(th, ln, s, ev, m.judge.exit(th, ln, s, ev))
	}
}

// takeRank takes the rank that a marker sets for its process.
func (m *markers) takeRank(th *thread, s *Site, ev *event.Marker) {
	if s.Rank == None {
		return
	}
	if ev.Values[s.Rank].Unreadable {
		m.stats.UnreadableAttributes++
		return
	}
	if rank := int32(ev.Values[s.Rank].Int); rank >= 0 && rank != th.process.id.Rank {
		th.process.setRank(rank)
	}
}

// key takes a marker of a keyed pair.
func (m *markers) key(th *thread, s *Site, ev *event.Marker) {
	v, ok := s.key(ev)
	switch {
	case v.N == 0 && ok:
		m.stats.Refused++
	case !ok:
		m.stats.UnreadableAttributes++
	case ev.Effect == probe.Enter:
		m.keyed.enter(th, s, ev, &v, m.judge.keyedEnter(th, s, &v))
	default:
		m.keyed.exit(th, s, ev, &v, m.judge.keyedExit(th, s, &v))
	}
}
