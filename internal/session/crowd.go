// SPDX-License-Identifier: Apache-2.0

package session

import (
	"math"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// crowd knows which threads of a process were in a phase, and when: what else may
// have moved memory between two reads. It is a [gpu.Witness] for the boundary that
// ask was called with. Memory is bounded by the processes and the phases that are
// open.
type crowd struct {
	processes map[int]*company // by PID on the host
	last      *company         // that was looked for
	asked     *company
	asker     actor
	known     int64 // all that happened up to this time has been seen
}

// company is one process.
type company struct {
	pid  int
	open map[actor]int // how many stacks of phases each has; who has none is left out
	// left are the two that were last to be in no phase any more, the last one first.
	left [2]departure
	// began is when the phase began that began last of all that have ended.
	began int64
	// leaf is how long the phase took that ended last of those without phases
	// inside, in ns.
	leaf int64
}

// actor is who is in phases: a thread, or a keyed phase, which no thread has to
// itself.
type actor struct {
	tid   int // on the host, 0 for a keyed phase
	keyed uint32
}

type departure struct {
	who actor
	at  int64
}

func newCrowd() *crowd { return &crowd{processes: make(map[int]*company)} }

func actorOf(b *stream.Boundary) actor {
	if b.Keyed {
		return actor{keyed: b.Slot + 1}
	}
	return actor{tid: b.Thread.HostTID}
}

func (c *crowd) company(p *stream.Process) *company {
	if c.last != nil && c.last.pid == p.HostPID {
		return c.last
	}
	m := c.processes[p.HostPID]
	if m == nil {
		m = &company{pid: p.HostPID, open: make(map[actor]int), began: math.MinInt64, leaf: math.MaxInt64}
		for i := range m.left {
			m.left[i].at = math.MinInt64
		}
		c.processes[p.HostPID] = m
	}
	c.last = m
	return m
}

// see takes a record, in the order of their times.
func (c *crowd) see(r stream.Record) {
	switch r := r.(type) {
	case *stream.Boundary:
		c.boundary(r)
	case *stream.Orphan: // its thread was in a phase that nobody saw begin
		if r.Thread != nil && r.Thread.Process != nil {
			c.company(r.Thread.Process).leave(actor{tid: r.Thread.HostTID}, r.Time)
		}
	}
}

func (c *crowd) boundary(b *stream.Boundary) {
	m := c.company(b.Thread.Process)
	if b.Action == recorder.Exit {
		m.began = max(m.began, b.Time-b.Duration)
		if b.Self == b.Duration {
			m.leaf = b.Duration
		}
	}
	if b.Path.Depth() > 1 {
		return // the phase around it counts
	}
	who := actorOf(b)
	if b.Action == recorder.Enter {
		m.open[who]++
		return
	}
	if m.open[who] > 1 {
		m.open[who]--
		return
	}
	delete(m.open, who)
	m.leave(who, b.Time)
}

func (m *company) leave(who actor, at int64) {
	if m.left[0].who != who {
		m.left[1] = m.left[0]
	}
	m.left[0] = departure{who, at}
}

// forget drops a process that has ended.
func (c *crowd) forget(pid int) {
	delete(c.processes, pid)
	c.last = nil
}

// ask says for which boundary the next questions are.
func (c *crowd) ask(b *stream.Boundary) {
	c.asked, c.asker = c.company(b.Thread.Process), actorOf(b)
}

// Between is of [gpu.Witness].
func (c *crowd) Between(from, to int64) gpu.Doubt {
	d := c.Since(from)
	// Reads that are further apart than a phase takes leave time for a move in the
	// phase before the boundary and one in the phase after it, which undoes it.
	if c.asked.began >= from || to != math.MaxInt64 && (to > c.known || to-from > c.asked.leaf) {
		d |= gpu.DoubtPhases
	}
	return d
}

// Since is of [gpu.Witness].
func (c *crowd) Since(from int64) gpu.Doubt {
	others := len(c.asked.open)
	if _, ok := c.asked.open[c.asker]; ok {
		others--
	}
	for _, d := range c.asked.left {
		if others > 0 || d.who != c.asker && d.at >= from {
			return gpu.DoubtThreads
		}
	}
	return 0
}
