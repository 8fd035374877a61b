// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/loader"
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
func (e *Engine) AddProcess(p Process) *Process {
	pr := &process{Process: p}
	if p.RankSource == "" {
		pr.Rank = e.cfg.Rank
	}
	e.processes[p.PID] = pr
	return &pr.Process
}

// Processes returns the processes that have not ended.
func (e *Engine) Processes() []*Process {
	out := make([]*Process, 0, len(e.processes))
	for _, p := range e.processes {
		out = append(out, &p.Process)
	}
	slices.SortFunc(out, func(a, b *Process) int { return a.PID - b.PID })
	return out
}

// processOf returns the process that a record names, made if need be.
func (e *Engine) processOf(ev *loader.Event) *process {
	pid := ev.Who.ViewPID
	if pid == 0 {
		pid = int(ev.PID)
	}
	p := e.processes[pid]
	if p == nil {
		p = e.newProcess(Process{PID: pid}, ev)
	}
	if p.HostPID == 0 {
		p.HostPID, p.ContainerPID = int(ev.PID), ev.Who.InnerPID
	}
	return p
}

func (e *Engine) newProcess(p Process, ev *loader.Event) *process {
	p.Comm = e.intern.of(ev.Who.Comm)
	if e.cfg.Describe != nil {
		e.cfg.Describe(&p)
	}
	e.AddProcess(p)
	pr := e.processes[p.PID]
	e.out.process(&ProcessChange{Time: ev.Time, Process: &pr.Process, Started: true})
	return pr
}

// threadTold takes a thread's identity: a new thread, or a new name.
func (e *Engine) threadTold(ev *loader.Event) {
	p := e.processOf(ev)
	th := e.threads[ev.TID]
	if th != nil && (th.key.StartTime != ev.Who.StartTime || th.process != p) {
		// Its end was lost, and the kernel has given the id to another thread.
		e.endThread(th, ev.Time, ReasonThreadExit)
		th = nil
	}
	if th == nil {
		if len(e.threads) >= maxThreads {
			e.stats.threadsRefused++ // markers of it are counted as strangers
			return
		}
		th = &thread{key: loader.ThreadKey{TID: ev.TID, StartTime: ev.Who.StartTime}, process: p}
		th.Thread = Thread{TID: ev.Who.ViewTID, HostTID: int(ev.TID), ContainerTID: ev.Who.InnerTID, Process: &p.Process}
		if th.TID == 0 {
			th.TID = th.HostTID
		}
		e.threads[ev.TID] = th
		e.last = nil
	}
	th.Name = e.intern.of(ev.Who.Comm)
}

// maxThreads bounds the live threads of a session.
const maxThreads = 1 << 16

func (e *Engine) threadEnded(ev *loader.Event) {
	th := e.threads[ev.TID]
	if th == nil || th.key.StartTime != ev.Who.StartTime {
		return
	}
	if ev.Seq > th.nextSeq {
		e.lose(th, ev.Seq-th.nextSeq, ev.Time)
	}
	reason := ReasonThreadExit
	if ev.Kind == loader.KindProcessExit {
		reason = ReasonProcessExit
	}
	e.endThread(th, ev.Time, reason)
}

// endThread closes what is open on a thread and forgets it.
func (e *Engine) endThread(th *thread, time int64, why Reason) {
	e.closeThread(th, time, why)
	for i := range th.lanes {
		for _, st := range th.lanes[i].stacks {
			st.Release()
		}
	}
	delete(e.threads, th.key.TID)
	if e.last == th {
		e.last = nil
	}
}

func (e *Engine) closeThread(th *thread, time int64, why Reason) {
	for i := range th.lanes {
		for _, st := range th.lanes[i].stacks {
			e.closeAbove(st, 0, time, why)
		}
		th.lanes[i].refused = 0
	}
}

// closeProcess closes what is open in a process, keyed scopes included.
func (e *Engine) closeProcess(p *process, time int64, why Reason) {
	for _, th := range e.sortedThreads(p) {
		e.closeThread(th, time, why)
	}
	for k, slot := range e.keyed {
		if k.process == p {
			e.closeKeyed(k, slot, nil, nil, time, why, nil)
		}
	}
}

// sortedThreads returns a process's threads by id; nil for all of them.
func (e *Engine) sortedThreads(p *process) []*thread {
	var out []*thread
	for _, th := range e.threads {
		if p == nil || th.process == p {
			out = append(out, th)
		}
	}
	slices.SortFunc(out, func(a, b *thread) int { return a.HostTID - b.HostTID })
	return out
}

func (e *Engine) processEnded(ev *loader.Event) {
	p := e.processes[e.processOf(ev).PID]
	e.endProcess(p, &ProcessChange{Time: ev.Time, ExitCode: int(ev.Aux), HasExit: true})
}

// ProcessGone tells the engine that a process has ended although no record
// said so; it does nothing when one did.
func (e *Engine) ProcessGone(pid int, time int64) {
	if p := e.processes[pid]; p != nil {
		e.endProcess(p, &ProcessChange{Time: time})
	}
}

func (e *Engine) endProcess(p *process, change *ProcessChange) {
	if p.ended {
		return
	}
	p.ended = true
	e.closeProcess(p, change.Time, ReasonProcessExit)
	for _, th := range e.sortedThreads(p) {
		e.endThread(th, change.Time, ReasonProcessExit)
	}
	delete(e.processes, p.PID)
	change.Process = &p.Process
	e.out.process(change)
}

// exec closes what the old program had open. The thread that ran it goes on
// with the id of the process.
func (e *Engine) exec(ev *loader.Event) {
	p := e.processOf(ev)
	e.closeProcess(p, ev.Time, ReasonExec)
	survivor := e.threads[ev.Aux]
	for _, th := range e.sortedThreads(p) {
		if th != survivor {
			e.endThread(th, ev.Time, ReasonExec)
		}
	}
	if survivor != nil && survivor.process == p && ev.Aux != ev.TID {
		delete(e.threads, ev.Aux)
		survivor.key = loader.ThreadKey{TID: ev.TID, StartTime: ev.Who.StartTime}
		survivor.HostTID, survivor.TID, survivor.ContainerTID = int(ev.TID), ev.Who.ViewTID, ev.Who.InnerTID
		e.threads[ev.TID] = survivor
		for i := range survivor.lanes { // named by the old id
			for _, st := range survivor.lanes[i].stacks {
				st.Release()
			}
			survivor.lanes[i].stacks = nil
		}
	}
	p.Comm = e.intern.of(ev.Who.Comm)
	if survivor != nil {
		survivor.Name = p.Comm
	}
	if e.cfg.Describe != nil {
		e.cfg.Describe(&p.Process)
	}
	e.out.process(&ProcessChange{Time: ev.Time, Process: &p.Process, Started: true, Exec: true})
}

// fork takes a followed child; its main thread begins inside whatever the
// parent's thread had open.
func (e *Engine) fork(ev *loader.Event) {
	pid := ev.Who.ViewPID
	if pid == 0 {
		pid = int(ev.Aux)
	}
	if old := e.processes[pid]; old != nil {
		e.endProcess(old, &ProcessChange{Time: ev.Time}) // its end was lost
	}
	child := Process{PID: pid, HostPID: int(ev.Aux), ContainerPID: ev.Who.InnerPID}
	if parent := e.processes[int(ev.Site)]; parent != nil {
		child.Parent = parent.PID
		child.Rank, child.RankSource = parent.Rank, parent.RankSource
	}
	e.newProcess(child, ev).inherited = true
}

// Finish closes everything that is still open, at the end of the session.
func (e *Engine) Finish(time int64) {
	for k, slot := range e.keyed {
		e.closeKeyed(k, slot, nil, nil, time, ReasonSessionEnd, nil)
	}
	for _, th := range e.sortedThreads(nil) {
		e.endThread(th, time, ReasonSessionEnd)
	}
}
