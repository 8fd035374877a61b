// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// interner keeps one copy of every name seen, up to a bound.
type interner struct{ names map[string]string }

// maxInterned bounds the names of threads kept for reuse.
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

// AddProcess makes a process known before its first record.
func (e *Engine) AddProcess(p stream.Process) *stream.Process { return &e.addProcess(p).Process }

func (e *Engine) addProcess(p stream.Process) *tracee {
	pr := &tracee{Process: p}
	if p.RankSource == "" {
		pr.Rank = e.cfg.Rank
	}
	e.processes[p.PID] = pr
	return pr
}

// Processes returns the processes that have not ended.
func (e *Engine) Processes() []*stream.Process {
	out := make([]*stream.Process, 0, len(e.processes))
	for _, p := range e.processes {
		out = append(out, &p.Process)
	}
	slices.SortFunc(out, func(a, b *stream.Process) int { return a.PID - b.PID })
	return out
}

// knownProcess returns the process that a record names, nil if there is none.
func (e *Engine) knownProcess(pid uint32, who *event.Identity) *tracee {
	p := e.processes[viewPID(pid, who)]
	if p != nil && p.HostPID == 0 {
		p.HostPID, p.ContainerPID = int(pid), who.InnerPID
	}
	return p
}

func viewPID(pid uint32, who *event.Identity) int {
	if who.ViewPID != 0 {
		return who.ViewPID
	}
	return int(pid)
}

// processOf returns the process that a record names, made if need be; nil when
// there are too many.
func (e *Engine) processOf(h *event.Head, who *event.Identity) *tracee {
	if p := e.knownProcess(h.PID, who); p != nil {
		return p
	}
	p := e.newProcess(stream.Process{PID: viewPID(h.PID, who), HostPID: int(h.PID), ContainerPID: who.InnerPID}, h.Time, who)
	if p != nil {
		p.inherited = true // the fork that nobody told of may have been inside phases
	}
	return p
}

// maxProcesses bounds the live processes of a session. The programs in the
// kernel know as many.
const maxProcesses = 1 << 14

func (e *Engine) newProcess(p stream.Process, time int64, who *event.Identity) *tracee {
	if len(e.processes) >= maxProcesses {
		e.stats.ProcessesRefused++
		return nil
	}
	p.Comm = e.intern.of(who.Comm)
	if e.cfg.Describe != nil {
		e.cfg.Describe(&p)
	}
	pr := e.addProcess(p)
	e.out.Record(&stream.ProcessChange{Time: time, Process: &pr.Process, Started: true})
	return pr
}

// threadTold takes a thread's identity: a new thread, or a new name.
func (e *Engine) threadTold(ev *event.Thread) {
	p := e.processOf(&ev.Head, &ev.Who)
	th := e.threads[ev.TID]
	if th != nil && (th.key.StartTime != ev.Who.StartTime || th.process != p) {
		e.replaced(th, ev.Time)
		th = nil
	}
	if th == nil && p != nil {
		th = e.newThread(p, ev)
	}
	if th != nil {
		th.Name = e.intern.of(ev.Who.Comm)
	}
}

// replaced ends a thread whose id the kernel has given to another one: its end
// was lost, and perhaps markers before it.
func (e *Engine) replaced(th *thread, time int64) {
	th.gaps++
	e.endThread(th, time, stream.ReasonThreadExit)
}

// newThread makes the thread of a record known; nil when there are too many.
func (e *Engine) newThread(p *tracee, ev *event.Thread) *thread {
	if len(e.threads) >= maxThreads {
		e.stats.ThreadsRefused++
		return nil
	}
	th := &thread{born: ev.Time, key: event.ThreadKey{TID: ev.TID, StartTime: ev.Who.StartTime}, process: p, index: len(p.threads)}
	th.Thread = stream.Thread{TID: ev.Who.ViewTID, HostTID: int(ev.TID), ContainerTID: ev.Who.InnerTID, Process: &p.Process}
	if th.TID == 0 {
		th.TID = th.HostTID
	}
	th.Name = e.intern.of(ev.Who.Comm)
	e.threads[ev.TID] = th
	p.threads = append(p.threads, th)
	e.last = nil
	return th
}

// maxThreads bounds the live threads of a session.
const maxThreads = 1 << 16

func (e *Engine) threadEnded(ev *event.ThreadExit, reason stream.Reason) {
	th := e.threads[ev.TID]
	if th != nil && th.key.StartTime < ev.Who.StartTime {
		e.replaced(th, ev.Time)
		th = nil
	}
	if th == nil || th.key.StartTime != ev.Who.StartTime {
		// It has ended already, with its process: the threads of a process that
		// ends all at once tell so in any order. Or all its markers were lost:
		// Reconcile tells.
		return
	}
	switch {
	case ev.Program != th.program:
		th.gaps++ // an exec of which nobody told: see missedExec
	case ev.Markers > th.nextSeq:
		th.gaps++
		e.lose(th, ev.Markers-th.nextSeq, ev.Time)
	}
	e.endThread(th, ev.Time, reason)
}

// endThread closes what is open on a thread and forgets it.
func (e *Engine) endThread(th *thread, time int64, why stream.Reason) {
	e.closeThread(th, time, why)
	th.releaseStacks()
	if e.threads[th.key.TID] == th {
		delete(e.threads, th.key.TID)
	}
	all := th.process.threads
	last := all[len(all)-1]
	all[th.index], last.index = last, th.index
	all[len(all)-1] = nil
	th.process.threads = all[:len(all)-1]
	if e.last == th {
		e.last = nil
	}
}

// releaseStacks forgets the stacks of a thread, which must be empty.
func (th *thread) releaseStacks() {
	for i := range th.lanes {
		for _, st := range th.lanes[i].stacks {
			st.Release()
		}
		th.lanes[i].stacks = nil
	}
}

func (e *Engine) closeThread(th *thread, time int64, why stream.Reason) {
	for i := range th.lanes {
		ln := &th.lanes[i]
		for _, st := range ln.stacks {
			e.closeAbove(st, 0, time, th.reason(ln, why))
		}
		ln.over = 0
		e.late -= ln.late.clear()
	}
}

// reason says why the scopes of a lane end: a lane that a gap has not been
// brought in line with may have lost their own exits.
func (th *thread) reason(ln *lane, why stream.Reason) stream.Reason {
	if ln.gaps != th.gaps {
		return stream.ReasonLost
	}
	return why
}

// closeProcess closes what is open in a process, keyed scopes included.
func (e *Engine) closeProcess(p *tracee, time int64, why stream.Reason) {
	for _, th := range sorted(p.threads) {
		e.closeThread(th, time, why)
	}
	e.closeAllKeyed(p, time, why)
}

// sorted returns threads by id, in a new slice.
func sorted(threads []*thread) []*thread {
	return slices.SortedFunc(slices.Values(threads), func(a, b *thread) int { return a.HostTID - b.HostTID })
}

func (e *Engine) processEnded(ev *event.ProcessExit) {
	e.threadEnded(&ev.ThreadExit, stream.ReasonProcessExit)
	if p := e.knownProcess(ev.PID, &ev.Who); p != nil {
		e.endProcess(p, &stream.ProcessChange{Time: ev.Time, ExitCode: int(ev.Status), HasExit: true})
	}
}

// ProcessGone tells the engine that a process has ended although no record
// said so; it does nothing when one did. started is its Process.StartTime, 0 when
// that is not known: another process may have its id by now.
func (e *Engine) ProcessGone(pid int, started uint64, time int64) {
	p := e.processes[pid]
	if p != nil && (started == 0 || p.StartTime == 0 || p.StartTime == started) {
		e.endProcess(p, &stream.ProcessChange{Time: time})
	}
}

func (e *Engine) endProcess(p *tracee, change *stream.ProcessChange) {
	if p.ended {
		return
	}
	p.ended = true
	if !change.HasExit {
		for _, th := range p.threads {
			th.gaps++ // more than the record of its end may be lost
		}
	}
	e.closeProcess(p, change.Time, stream.ReasonProcessExit)
	for _, th := range sorted(p.threads) {
		e.endThread(th, change.Time, stream.ReasonProcessExit)
	}
	if e.processes[p.PID] == p {
		delete(e.processes, p.PID)
	}
	change.Process = &p.Process
	e.out.Record(change)
}

// exec closes what the old program had open. The thread that ran it goes on
// with the id of the process.
func (e *Engine) exec(ev *event.Exec) {
	p := e.processOf(&ev.Head, &ev.Who)
	if p == nil {
		return
	}
	survivor := e.threads[ev.FormerTID]
	if survivor != nil && (survivor.process != p || survivor.key.StartTime != ev.FormerStart) {
		survivor = nil
	}
	switch {
	case survivor == nil:
	case ev.Before != survivor.program:
		survivor.gaps++ // an exec of which nobody told: see missedExec
	case ev.Markers > survivor.nextSeq:
		survivor.gaps++
		e.lose(survivor, ev.Markers-survivor.nextSeq, ev.Time)
	}
	for _, th := range p.threads {
		if th != survivor {
			th.gaps++ // it has ended before: the record of that was lost
		}
	}
	e.closeProcess(p, ev.Time, stream.ReasonExec)
	for _, th := range sorted(p.threads) {
		if th != survivor {
			e.endThread(th, ev.Time, stream.ReasonExec)
		}
	}
	p.Comm = e.intern.of(ev.Who.Comm)
	p.inherited = false
	if survivor != nil {
		e.outlive(survivor, ev)
	}
	if e.cfg.Describe != nil {
		e.cfg.Describe(&p.Process)
	}
	e.out.Record(&stream.ProcessChange{Time: ev.Time, Process: &p.Process, Started: true, Exec: true})
}

// outlive makes the thread that ran exec the first of its process, under whose
// id the kernel knows it from then on.
func (e *Engine) outlive(th *thread, ev *event.Exec) {
	th.Name = th.process.Comm
	th.program, th.nextSeq = ev.Program, ev.Markers
	th.restart(ev.Time)
	if key := (event.ThreadKey{TID: ev.TID, StartTime: ev.Who.StartTime}); key != th.key {
		if old := e.threads[key.TID]; old != nil && old != th {
			e.replaced(old, ev.Time)
		}
		delete(e.threads, th.key.TID)
		th.key = key
		e.threads[key.TID] = th
		th.releaseStacks() // named by the old id
		th.HostTID, th.TID, th.ContainerTID = int(ev.TID), ev.Who.ViewTID, ev.Who.InnerTID
		if th.TID == 0 {
			th.TID = th.HostTID
		}
	}
	e.last = nil
}

// fork takes a followed child; its main thread begins inside whatever the
// parent's thread had open.
func (e *Engine) fork(ev *event.Fork) {
	pid := ev.Who.ViewPID
	if pid == 0 {
		pid = int(ev.Child)
	}
	parent := e.processes[ev.Parent]
	switch old := e.processes[pid]; {
	case old == nil:
	case old.HostPID == 0: // found by a look, before this record of its birth was read
		old.HostPID, old.ContainerPID, old.inherited = int(ev.Child), ev.Who.InnerPID, true
		if parent != nil {
			old.Parent = parent.PID
		}
		return
	default:
		e.endProcess(old, &stream.ProcessChange{Time: ev.Time}) // its end was lost
	}
	child := stream.Process{PID: pid, HostPID: int(ev.Child), ContainerPID: ev.Who.InnerPID}
	if parent != nil {
		child.Parent = parent.PID
		child.Rank, child.RankSource = parent.Rank, parent.RankSource
	}
	if p := e.newProcess(child, ev.Time, &ev.Who); p != nil {
		p.inherited = true
	}
}

// Finish closes everything that is still open, at the end of the session.
func (e *Engine) Finish(time int64) {
	e.closeAllKeyed(nil, time, stream.ReasonSessionEnd)
	for _, th := range slices.SortedFunc(maps.Values(e.threads), func(a, b *thread) int { return a.HostTID - b.HostTID }) {
		e.endThread(th, time, stream.ReasonSessionEnd)
	}
}

// Process returns a process that has not ended, by its id in the PID namespace
// phasetrace runs in; nil if there is none.
func (e *Engine) Process(pid int) *stream.Process {
	if p := e.processes[pid]; p != nil {
		return &p.Process
	}
	return nil
}
