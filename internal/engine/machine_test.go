// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math/rand/v2"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// chooser makes the choices of a random test: from a seed, or from the bytes
// of a fuzz target.
type chooser interface {
	// upTo returns a number from 0 to n-1, and 0 when the choices have run out.
	upTo(n int) int
	more() bool
}

type seeded struct {
	*rand.Rand
	left int
}

func newSeeded(seed uint64, steps int) *seeded {
	return &seeded{rand.New(rand.NewPCG(seed, 5)), steps}
}
func (s *seeded) upTo(n int) int { return s.IntN(n) }
func (s *seeded) more() bool     { s.left--; return s.left >= 0 }

type scripted struct{ rest []byte }

func (s *scripted) upTo(n int) int {
	if len(s.rest) == 0 {
		return 0
	}
	v := int(s.rest[0])
	s.rest = s.rest[1:]
	return v % n
}
func (s *scripted) more() bool { return len(s.rest) > 0 }

// The pairs of the random tests, by index; each has two sites, 2i and 2i+1.
const (
	pairMarkers = iota // tokens, names and ranks, as our own
	pairWork           // no tokens, a literal name
	pairNamed          // no tokens, names
	pairQuery          // not reentrant; resets plan
	pairPlan           // not reentrant
	pairOther          // tokens, on a lane of its own
	pairParcel         // keyed
	numPairs
	siteStatus = 2 * numPairs // proves plan to be over
)

// Values of the enters' and exits' captures.
const (
	valueToken = 0 // or the key
	valueName  = 1
	valueRank  = 2
)

var pairNames = []string{"markers", "work", "named", "query", "plan", "other", "parcel"}

// nameOf returns the literal name of a site's pair.
func nameOf(site int) string { return pairNames[site/2] }

// randomPairs returns the sites of the random tests.
func randomPairs() []*Site {
	pairs := make([]*Pair, numPairs)
	for i, name := range pairNames {
		pairs[i] = &Pair{ID: "t:" + name + "_enter/" + name + "_exit", Name: []byte(name), Reentrant: true}
	}
	for _, i := range []int{pairMarkers, pairNamed, pairOther} {
		pairs[i].Name = nil
	}
	pairs[pairQuery].Reentrant, pairs[pairPlan].Reentrant = false, false
	pairs[pairQuery].Resets = []*Pair{pairs[pairPlan]}
	pairs[pairOther].Lane, pairs[pairOther].LaneName = 1, "other"
	pairs[pairParcel].Keyed = true

	var sites []*Site
	for i, p := range pairs {
		for _, effect := range []probe.Effect{probe.Enter, probe.Exit} {
			s := newSite(p, effect)
			if i == pairMarkers || i == pairOther {
				s.Token = valueToken
			}
			if p.Keyed {
				s.Key = []KeyPart{{Slot: valueToken}}
			}
			if effect == probe.Enter && p.Name == nil {
				s.Name = valueName
			}
			if effect == probe.Enter && i == pairMarkers {
				s.Rank = valueRank
			}
			sites = append(sites, s)
		}
	}
	status := newSite(pairs[pairPlan], probe.Point)
	status.Over = []*Pair{pairs[pairPlan]}
	return append(sites, status)
}

// newSite returns a site that captures nothing.
func newSite(p *Pair, effect probe.Effect) *Site {
	return &Site{
		Marker: stream.Marker{Provider: "t", Probe: p.ID + " " + effect.String()},
		Pair:   p, Effect: effect, Token: None, Rank: None, Name: None, Object: None,
	}
}

// machine plays the kernel's part: it counts as bpf/phasetrace.bpf.c does and
// loses what the ring has no room for.
type machine struct {
	engine *Engine
	sites  []*Site
	full   func() bool // the ring has no room for the next record
	// prepare completes the next marker, if set.
	prepare func()
	now     int64
	start   uint64 // of the last task
	freed   []uint32
	nextID  uint32

	lost      map[event.ThreadKey]event.ThreadLoss
	produced  uint64
	delivered uint64
	ev        event.Marker // the last
}

// task is a thread as the kernel has it.
type task struct {
	pid, tid        uint32
	start           uint64
	toldStart       uint64
	comm            string
	told            bool
	marked          bool // has hit a marker: the kernel keeps state for it
	seq             uint64
	program, former uint32
	lanes           [probe.MaxLanes]struct{ depth, low int32 }
}

func newMachine(e *Engine) *machine {
	m := &machine{engine: e, sites: e.sites.list, nextID: 100, lost: make(map[event.ThreadKey]event.ThreadLoss)}
	m.full = func() bool { return false }
	return m
}

// id returns a thread id, one used before where there is one.
func (m *machine) id() uint32 {
	if n := len(m.freed); n > 0 {
		id := m.freed[0]
		m.freed = m.freed[1:]
		return id
	}
	m.nextID++
	return m.nextID
}

func (m *machine) newTask(pid uint32) *task {
	m.start++
	t := &task{pid: pid, tid: m.id(), start: m.start, comm: "thread"}
	if pid == 0 {
		t.pid = t.tid
	}
	return t
}

func (t *task) key() event.ThreadKey { return event.ThreadKey{TID: t.tid, StartTime: t.start} }

func (m *machine) identity(t *task) event.Identity {
	return event.Identity{
		StartTime: t.start, Comm: []byte(t.comm), ViewPID: int(t.pid), ViewTID: int(t.tid),
		InnerPID: int(t.pid), InnerTID: int(t.tid),
	}
}

// send sends an event other than a marker and reports whether it arrived.
func (m *machine) send(make func(event.Head) event.Event, t *task) bool {
	m.now++
	if m.full() {
		return false
	}
	m.handle(make(event.Head{Time: m.now, PID: t.pid, TID: t.tid}))
	return true
}

// threadExit ends a task that is not the last of its process.
func (m *machine) threadExit(t *task) bool {
	return m.send(func(h event.Head) event.Event {
		return &event.ThreadExit{Head: h, Who: m.identity(t), Markers: t.seq, Program: t.program}
	}, t)
}

// processExit ends the last task of a process.
func (m *machine) processExit(t *task, status uint32) bool {
	return m.send(func(h event.Head) event.Event {
		return &event.ProcessExit{ThreadExit: event.ThreadExit{Head: h, Who: m.identity(t), Markers: t.seq, Program: t.program}, Status: status}
	}, t)
}

// exec tells that a task runs another program; former is its id before.
func (m *machine) exec(t *task, former uint32) bool {
	sent := m.send(func(h event.Head) event.Event {
		return &event.Exec{Head: h, Who: m.identity(t), FormerTID: former, FormerStart: t.toldStart,
			Markers: t.seq, Before: t.former, Program: t.program}
	}, t)
	if sent {
		t.toldStart = t.start
	}
	return sent
}

// forked tells that a task has made a child.
func (m *machine) forked(parent, child *task) bool {
	return m.send(func(h event.Head) event.Event {
		return &event.Fork{Head: h, Parent: int(parent.pid), Child: child.pid, Who: m.identity(child)}
	}, parent)
}

// next is what the next marker of a task is going to look like.
func (m *machine) marker(t *task, number int, value uint64, name string, rank int32) bool {
	s := m.sites[number]
	m.now++
	m.ev = event.Marker{Head: event.Head{Time: m.now, PID: t.pid, TID: t.tid}, Site: uint32(number),
		Effect: s.Effect, Lane: s.Pair.Lane, Seq: t.seq, Program: t.program, NumValues: 3}
	if m.prepare != nil {
		m.prepare()
	}
	m.ev.Values[valueToken].Int = value
	m.ev.Values[valueName].Str = []byte(name)
	m.ev.Values[valueRank].Int = uint64(rank)
	lane := &t.lanes[s.Pair.Lane]
	strict := s.Over == nil && !s.Pair.Keyed
	if strict {
		m.ev.Low = lane.low
		if s.Effect == probe.Enter {
			lane.depth++
		} else {
			lane.depth--
		}
		lane.low = min(lane.low, lane.depth)
		m.ev.Depth = lane.depth
	} else {
		m.ev.Lane = probe.NoLane
	}
	t.seq++
	t.marked = true
	m.produced++
	if !m.tell(t) || m.full() {
		l := m.lost[t.key()]
		m.lost[t.key()] = event.ThreadLoss{PID: t.pid, Count: l.Count + 1}
		return false
	}
	m.delivered++
	if strict {
		lane.low = lane.depth
	}
	m.handle(&m.ev)
	return true
}

// tell says who a task is before its first marker.
func (m *machine) tell(t *task) bool {
	if t.told {
		return true
	}
	if m.full() {
		return false
	}
	m.handle(&event.Thread{Head: event.Head{Time: m.now, PID: t.pid, TID: t.tid}, Who: m.identity(t)})
	t.told, t.toldStart = true, t.start
	return true
}

func (m *machine) handle(ev event.Event) {
	m.engine.Begin()
	m.engine.Handle(ev)
}

// rename gives a task another name, which is announced again.
func (t *task) rename(comm string) { t.comm, t.told = comm, false }

// run makes a task the only one of its process, as exec does.
func (t *task) run(now int64) {
	t.told = false
	t.former, t.program = t.program, uint32(now)
	for i := range t.lanes {
		t.lanes[i].depth, t.lanes[i].low = 0, 0
	}
}

// lostMarkers is what Config.Lost returns.
func (m *machine) lostMarkers() uint64 {
	var n uint64
	for _, l := range m.lost {
		n += l.Count
	}
	return n
}
