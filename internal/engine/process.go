// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Description is what the system knows of a process. Zero fields are not known.
type Description struct {
	Comm, Exe    string
	Title        string // as in stream.Process
	ContainerPID int
	Rank         int32  // valid with a RankSource
	RankSource   string // as in stream.Process
	StartTime    uint64 // as in stream.Process
}

// rankFromMarker is the RankSource of a rank that a marker gave.
const rankFromMarker = "marker"

// tick is the unit of start times in /proc/PID/stat, in ns: USER_HZ is 100 on
// every architecture here.
const tick = 1e9 / 100

// process is a traced process.
type process struct {
	id *stream.Process // who it is now; replaced when that changes, never written to
	// ranks are identities that differ in a rank given by a marker, so that one
	// that returns takes no memory.
	ranks []*stream.Process
	// started is the pending record of its start or exec: due once it is
	// described, before its next record, or at its end.
	started   *stream.ProcessChange
	ran       int64 // when it ran the program that it runs now, 0 if that is not known
	titled    int64 // when it had the title that is known, if a record told it
	inherited bool  // its main thread began as a copy of the parent's thread
	ended     bool
	threads   []*thread
	gates     map[*Site]gate // when sites were attached for this process alone
	lastGate  gate           // the last of them
	exits     exitMemory
	tally     tally
}

// gate is when a site was attached for the process. Exits of older threads may
// belong to enters that nobody recorded.
func (p *process) gate(s *Site) gate {
	if t, ok := p.gates[s]; ok {
		return t
	}
	return s.gateAll
}

// change makes the process somebody else.
func (p *process) change(how func(*stream.Process)) {
	id := *p.id
	how(&id)
	p.id, p.ranks = &id, nil
}

// maxRanks bounds the ranks of one process whose identities are kept.
const maxRanks = 64

// setRank takes a rank that a marker gave.
func (p *process) setRank(rank int32) {
	for _, id := range p.ranks {
		if id.Rank == rank {
			p.id = id
			return
		}
	}
	id := *p.id
	id.Rank, id.RankSource = rank, rankFromMarker
	p.id = &id
	if len(p.ranks) < maxRanks {
		p.ranks = append(p.ranks, &id)
	}
}

// describe takes what the system knows of the process.
func (p *process) describe(d *Description) {
	p.change(func(id *stream.Process) {
		if d.Comm != "" {
			id.Comm = d.Comm
		}
		if d.Exe != "" {
			id.Exe = d.Exe
		}
		if d.Title != "" {
			id.Title = d.Title
		}
		if d.ContainerPID != 0 {
			id.ContainerPID = d.ContainerPID
		}
		if d.StartTime != 0 {
			id.StartTime = d.StartTime
		}
		if d.RankSource != "" && id.RankSource != rankFromMarker {
			id.Rank, id.RankSource = d.Rank, d.RankSource
		}
	})
}

// byID returns the threads of the process by id, in a new slice.
func (p *process) byID() []*thread {
	return slices.SortedFunc(slices.Values(p.threads), byHostTID)
}

// Bounds of what is alive in a session at once. The BPF programs know the same
// number of processes.
const (
	maxProcesses = 1 << 14
	maxThreads   = 1 << 16
)

// tasks are the processes and threads of a session.
type tasks struct {
	rank      int32            // of processes that have none
	shift     int64            // Config.BootShift
	processes map[int]*process // by PID
	threads   map[uint32]*thread
	last      *thread // the thread of the previous marker
	names     interner
}

func newTasks(rank int32, shift int64) tasks {
	return tasks{
		rank: rank, shift: shift, processes: make(map[int]*process), threads: make(map[uint32]*thread),
		names: interner{make(map[string]string)},
	}
}

// thread returns the thread of a marker, nil when it is not known.
func (t *tasks) thread(tid uint32) *thread {
	if th := t.last; th != nil && th.key.TID == tid {
		return th
	}
	th := t.threads[tid]
	t.last = th
	return th
}

func (t *tasks) addProcess(id stream.Process) *process {
	if id.RankSource == "" {
		id.Rank = t.rank
	}
	p := &process{id: &id}
	t.processes[id.PID] = p
	return p
}

// process returns the process that a record names, nil if there is none. It also
// notes the host id.
func (t *tasks) process(pid uint32, who *event.Identity) *process {
	p := t.processes[viewPID(pid, who)]
	if p != nil && p.id.HostPID == 0 {
		p.change(func(id *stream.Process) { id.HostPID, id.ContainerPID = int(pid), who.InnerPID })
	}
	return p
}

// viewPID is the id of a process in the PID namespace phasetrace runs in, the
// host's where it has none there.
func viewPID(pid uint32, who *event.Identity) int {
	if who.ViewPID != 0 {
		return who.ViewPID
	}
	return int(pid)
}

// startedAt returns the process of a PID, nil if there is none or if it is known
// to have started at another time: another process may have the id by now. 0
// means that the time is unknown.
func (t *tasks) startedAt(pid int, ticks uint64) *process {
	p := t.processes[pid]
	if p == nil || ticks != 0 && p.id.StartTime != 0 && p.id.StartTime != ticks {
		return nil
	}
	return p
}

// startTime is Process.StartTime for an event's boot time in ns.
func (t *tasks) startTime(boot uint64) uint64 { return uint64(int64(boot)+t.shift) / tick }

// ranBefore reports whether a process ran before a boot time in ns.
func (t *tasks) ranBefore(p *process, boot uint64) bool {
	return p.id.StartTime == 0 || boot > 0 && p.id.StartTime <= t.startTime(min(boot, math.MaxInt64)-1)
}

// byHost returns the process of a host id, nil if there is none.
func (t *tasks) byHost(hostPID int) *process {
	for _, p := range t.processes {
		if p.id.HostPID == hostPID {
			return p
		}
	}
	return nil
}

// identities returns the living processes, by PID.
func (t *tasks) identities() []*stream.Process {
	out := make([]*stream.Process, 0, len(t.processes))
	for _, p := range t.processes {
		out = append(out, p.id)
	}
	slices.SortFunc(out, func(a, b *stream.Process) int { return a.PID - b.PID })
	return out
}

// forget drops a thread, of which nothing is open.
func (t *tasks) forget(th *thread) {
	if t.threads[th.key.TID] == th {
		delete(t.threads, th.key.TID)
	}
	all := th.process.threads
	last := all[len(all)-1]
	all[th.index], last.index = last, th.index
	all[len(all)-1] = nil
	th.process.threads = all[:len(all)-1]
	if t.last == th {
		t.last = nil
	}
}

// rekey makes a thread known by another key.
func (t *tasks) rekey(th *thread, key event.ThreadKey) {
	delete(t.threads, th.key.TID)
	th.key = key
	t.threads[key.TID] = th
	t.last = nil
}

// interner keeps one copy of every name seen, up to a bound.
type interner struct{ names map[string]string }

// maxInterned bounds the names that are kept for reuse.
const maxInterned = 4096

func (in *interner) of(b []byte) string {
	if s, ok := in.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(in.names) < maxInterned {
		in.names[s] = s
	}
	return s
}
