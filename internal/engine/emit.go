// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// emitter builds records and hands them to the output. Nothing else does.
type emitter struct {
	out           Output
	pageSize      uint64
	residentError uint64
	b             stream.Boundary // reused
}

// tell hands over a record of a process, after the pending record of its start.
func (m *emitter) tell(p *process, r stream.Record) {
	if p.started != nil {
		m.started(p)
	}
	m.out.Record(r)
}

// started reports a process's start or exec, if that is still pending.
func (m *emitter) started(p *process) {
	if c := p.started; c != nil {
		p.started = nil
		c.Process = p.id
		m.out.Record(c)
	}
}

// enter reports a scope that has begun.
func (m *emitter) enter(rb *recorder.Boundary, sc *scope, from *stream.Marker, why stream.Reason, ev *event.Marker) {
	m.b = stream.Boundary{}
	m.b.Boundary, m.b.Time, m.b.Thread = *rb, ev.Time, sc.thread.identity()
	m.b.Marker, m.b.Synthetic, m.b.Resident = from, why, m.resident(ev, 0)
	if sc.keyed.value.N > 0 {
		m.b.Keyed, m.b.Key = true, sc.keyed.value.Key
	}
	m.tell(sc.thread.process, &m.b)
}

// exit reports a scope that has ended.
func (m *emitter) exit(rb *recorder.Boundary, sc *scope, duration, self int64, end *ending) {
	m.b = stream.Boundary{}
	m.b.Boundary, m.b.Time, m.b.Thread = *rb, end.time, sc.thread.identity()
	m.b.Duration, m.b.Self = duration, self
	m.b.Marker, m.b.Synthetic, m.b.Doubt, m.b.ExitAttributes = end.marker, end.why, end.doubt, end.tells
	if sc.keyed.value.N > 0 {
		m.b.Keyed, m.b.Key = true, sc.keyed.value.Key
	}
	if end.by != nil {
		m.b.ExitThread = end.by.identity()
	}
	switch ev := end.record; {
	case ev == nil:
	case end.doubt != stream.DoubtNone: // the enter may be another scope's
		m.b.Resident = m.resident(ev, 0)
	default:
		m.b.Resident = m.resident(ev, sc.resident)
		if end.by == nil { // else the counters are another thread's
			m.b.HasCounters = !sc.standIn()
			m.b.Counters = since(countersOf(ev), sc.counters)
		}
	}
	m.tell(sc.thread.process, &m.b)
}

// since is what the counters have counted since before.
func since(now, before stream.Counters) stream.Counters {
	return stream.Counters{
		VoluntarySwitches:   now.VoluntarySwitches - before.VoluntarySwitches,
		InvoluntarySwitches: now.InvoluntarySwitches - before.InvoluntarySwitches,
		MinorFaults:         now.MinorFaults - before.MinorFaults,
		MajorFaults:         now.MajorFaults - before.MajorFaults,
	}
}

// residentBytes is the resident memory that a marker reports, 0 if unknown.
func (m *emitter) residentBytes(ev *event.Marker) uint64 {
	return uint64(ev.ResidentPages) * m.pageSize
}

// resident is the resident memory at a marker, before being what it was at the
// enter; 0: not known, or there was none.
func (m *emitter) resident(ev *event.Marker, before uint64) stream.Resident {
	if ev.ResidentPages == 0 {
		return stream.Resident{}
	}
	r := stream.Resident{Bytes: m.residentBytes(ev), Known: true, Error: m.residentError}
	if before != 0 {
		r.Change, r.ChangeKnown = int64(r.Bytes-before), true
	}
	return r
}

// orphan reports an exit for which no scope is open.
func (m *emitter) orphan(th *thread, s *Site, ev *event.Marker, why stream.OrphanReason) {
	m.tell(th.process, &stream.Orphan{Time: ev.Time, Thread: th.identity(), Marker: &s.Marker, Reason: why})
}

// violation builds the record of a violation. It does not report it.
func (m *emitter) violation(th *thread, s *Site, ev *event.Marker, err *recorder.ProtocolError, done stream.Repair) *stream.Violation {
	return &stream.Violation{Time: ev.Time, Thread: th.identity(), Marker: &s.Marker, Err: err, Repaired: done}
}

// loss reports lost markers of a thread.
func (m *emitter) loss(th *thread, n uint64, time int64) {
	m.tell(th.process, &stream.Loss{Time: time, Thread: th.identity(), Count: n})
}

// change reports that a process has started or ended.
func (m *emitter) change(p *process, c *stream.ProcessChange) {
	c.Process = p.id
	m.tell(p, c)
}
