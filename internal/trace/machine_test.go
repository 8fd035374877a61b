// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"math/rand/v2"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
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

// randomPairs returns the sites of the random tests.
func randomPairs() []*site {
	spec := func(name string) usdt.PairSpec {
		return usdt.PairSpec{
			Provider: "t", Enter: name + "_enter", Exits: []string{name + "_exit"}, Name: name, AttrsJSON: usdt.NoArg,
			TokenArg: usdt.NoArg, RankArg: usdt.NoArg, KeyArg: usdt.NoArg, Reentrant: true,
		}
	}
	pairs := make([]*pair, numPairs)
	for i, name := range []string{"markers", "work", "named", "query", "plan", "other", "parcel"} {
		pairs[i] = &pair{spec: spec(name), name: []byte(name)}
	}
	for _, i := range []int{pairMarkers, pairOther} {
		pairs[i].spec.TokenArg = 0
	}
	for _, i := range []int{pairMarkers, pairNamed, pairOther} {
		pairs[i].spec.NameArg, pairs[i].name = &usdt.AttrSpec{Arg: 1, Type: usdt.TypeStr}, nil
	}
	pairs[pairQuery].spec.Reentrant, pairs[pairPlan].spec.Reentrant = false, false
	pairs[pairQuery].resets = []*pair{pairs[pairPlan]}
	pairs[pairOther].lane, pairs[pairOther].spec.Lane = 1, "other"
	pairs[pairParcel].spec.KeyArg = 0

	var sites []*site
	for i, p := range pairs {
		for _, role := range []loader.Role{loader.Enter, loader.Exit} {
			s := &site{pair: p, role: role, token: none, key: none, rank: none, name: none, object: none}
			s.Marker = stream.Marker{Provider: "t", Probe: p.spec.Enter}
			if role == loader.Exit {
				s.Probe = p.spec.Exits[0]
			}
			if p.spec.TokenArg != usdt.NoArg {
				s.token = valueToken
			}
			if p.keyed() {
				s.key = valueToken
			}
			if role == loader.Enter && p.spec.NameArg != nil {
				s.name = valueName
			}
			if role == loader.Enter && i == pairMarkers {
				s.rank = valueRank
			}
			sites = append(sites, s)
		}
	}
	status := &site{pair: pairs[pairPlan], over: []*pair{pairs[pairPlan]}, role: loader.Exit,
		token: none, key: none, rank: none, name: none, object: none}
	return append(sites, status)
}

// machine plays the kernel's part: it counts as bpf/phasetrace.bpf.c does and
// loses what the ring has no room for.
type machine struct {
	engine *Engine
	sites  []*site
	full   func() bool // the ring has no room for the next record
	now    int64
	start  uint64 // of the last task
	freed  []uint32
	nextID uint32

	lost      map[loader.ThreadKey]loader.ThreadLoss
	produced  uint64
	delivered uint64
	ev        loader.Event
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
	lanes           [loader.MaxLanes]struct{ depth, low int32 }
}

func newMachine(e *Engine) *machine {
	m := &machine{engine: e, sites: e.sites, nextID: 100, lost: make(map[loader.ThreadKey]loader.ThreadLoss)}
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

func (t *task) key() loader.ThreadKey { return loader.ThreadKey{TID: t.tid, StartTime: t.start} }

func (m *machine) identity(t *task) loader.Identity {
	return loader.Identity{
		StartTime: t.start, Comm: []byte(t.comm), ViewPID: int(t.pid), ViewTID: int(t.tid),
		InnerPID: int(t.pid), InnerTID: int(t.tid),
	}
}

// lifecycle sends a record other than a marker and reports whether it arrived.
func (m *machine) lifecycle(kind loader.Kind, t *task, aux uint32) bool {
	m.now++
	if m.full() {
		return false
	}
	m.ev = loader.Event{Kind: kind, Time: m.now, PID: t.pid, TID: t.tid, Aux: aux, Who: m.identity(t)}
	switch kind {
	case loader.KindThreadExit, loader.KindProcessExit, loader.KindExec:
		m.ev.Seq, m.ev.Depth = t.seq, int32(t.program)
	}
	if kind == loader.KindExec {
		m.ev.Depth, m.ev.Low = int32(t.program), int32(t.former)
		m.ev.SetFormerStart(t.toldStart)
		t.toldStart = t.start
	}
	m.handle()
	return true
}

// forked tells that a task has made a child.
func (m *machine) forked(parent, child *task) bool {
	m.now++
	if m.full() {
		return false
	}
	m.ev = loader.Event{Kind: loader.KindFork, Time: m.now, PID: parent.pid, TID: parent.tid, Site: parent.pid,
		Aux: child.pid, Who: m.identity(child)}
	m.handle()
	return true
}

// next is what the next marker of a task is going to look like.
func (m *machine) marker(t *task, number int, value uint64, name string, rank int32) bool {
	s := m.sites[number]
	m.now++
	m.ev = loader.Event{Kind: loader.KindMarker, Time: m.now, PID: t.pid, TID: t.tid, Site: uint32(number),
		Role: s.role, Lane: s.pair.lane, Seq: t.seq, Aux: t.program, NumValues: 3}
	m.ev.Values[valueToken].Int = value
	m.ev.Values[valueName].Str = []byte(name)
	m.ev.Values[valueRank].Int = uint64(rank)
	lane := &t.lanes[s.pair.lane]
	strict := s.over == nil && !s.pair.keyed()
	if strict {
		m.ev.Low = lane.low
		if s.role == loader.Enter {
			lane.depth++
		} else {
			lane.depth--
		}
		lane.low = min(lane.low, lane.depth)
		m.ev.Depth = lane.depth
	} else {
		m.ev.Lane = loader.NoLane
	}
	t.seq++
	t.marked = true
	m.produced++
	if !m.tell(t) || m.full() {
		l := m.lost[t.key()]
		m.lost[t.key()] = loader.ThreadLoss{PID: t.pid, Count: l.Count + 1}
		return false
	}
	m.delivered++
	if strict {
		lane.low = lane.depth
	}
	m.handle()
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
	marker := m.ev
	m.ev = loader.Event{Kind: loader.KindThread, Time: m.now, PID: t.pid, TID: t.tid, Who: m.identity(t)}
	m.handle()
	m.ev = marker
	t.told, t.toldStart = true, t.start
	return true
}

func (m *machine) handle() {
	m.engine.Begin()
	m.engine.Handle(&m.ev)
}

// rename gives a task another name: it is told anew.
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
