// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// lives follows processes and threads from their beginning to their end, and
// closes what they leave open.
type lives struct {
	*state
	books *books
	keyed *keyedRepairer
	emit  *emitter
}

// thread takes a thread's identity: a new thread, or a new name.
func (l *lives) thread(ev *event.Thread) {
	p := l.processOf(&ev.Head, &ev.Who)
	th := l.tasks.threads[ev.TID]
	if th != nil && (th.key.StartTime != ev.Who.StartTime || th.process != p) {
		l.replaced(th, ev.Time)
		th = nil
	}
	if p != nil {
		l.titleIn(p, ev)
	}
	switch {
	case th != nil:
		th.rename(l.tasks.names.of(ev.Who.Comm))
	case p != nil:
		l.newThread(p, ev)
	}
}

// titleIn takes the title that a process had at the record of a thread of its own.
func (l *lives) titleIn(p *process, ev *event.Thread) {
	if l.cfg.Title == nil || len(ev.Arguments) == 0 {
		return
	}
	title := l.cfg.Title(ev.Arguments, int(ev.ArgumentsSize), p.id.Comm, p.id.Exe)
	if title == "" {
		return
	}
	if p.titled = ev.Time; title != p.id.Title {
		l.titledNow(p, title, ev.Time)
	}
}

// newThread makes the thread of a record known, unless there are too many.
func (l *lives) newThread(p *process, ev *event.Thread) {
	if len(l.tasks.threads) >= maxThreads {
		l.stats.ThreadsRefused++
		return
	}
	id := &stream.Thread{
		TID: ev.Who.ViewTID, HostTID: int(ev.TID), ContainerTID: ev.Who.InnerTID,
		Name: l.tasks.names.of(ev.Who.Comm), Process: p.id,
	}
	if id.TID == 0 {
		id.TID = id.HostTID
	}
	th := &thread{
		id: id, born: ev.Time, process: p, index: len(p.threads),
		key: event.ThreadKey{TID: ev.TID, StartTime: ev.Who.StartTime},
	}
	l.tasks.threads[ev.TID] = th
	p.threads = append(p.threads, th)
	l.tasks.last = nil
}

// replaced ends a thread whose id the kernel has given to another one: its end
// was lost, and perhaps markers before it.
func (l *lives) replaced(th *thread, time int64) {
	th.gaps++
	l.endThread(th, time, stream.ReasonThreadExit)
}

func (l *lives) threadExit(ev *event.ThreadExit, reason stream.Reason) {
	th := l.tasks.threads[ev.TID]
	if th != nil && th.key.StartTime < ev.Who.StartTime {
		l.replaced(th, ev.Time)
		th = nil
	}
	if th == nil || th.key.StartTime != ev.Who.StartTime {
		// It has ended already, with its process: the threads of a process that
		// ends all at once report it in any order. Or all its markers were lost:
		// reconcile reports those.
		return
	}
	l.gapBefore(th, th.follows(ev.Markers, ev.Program), ev.Time)
	l.endThread(th, ev.Time, reason)
}

// gapBefore acts on what a record of a thread's life says about the markers
// before it. After an exec without a record it leaves the loss to reconcile: the
// thread may have had another id then.
func (l *lives) gapBefore(th *thread, c continuity, time int64) {
	switch {
	case c.program:
		th.gaps++
	case c.lost > 0:
		th.gaps++
		l.books.lose(th, c.lost, time)
	}
}

// endThread closes what is open on a thread and forgets it.
func (l *lives) endThread(th *thread, time int64, why stream.Reason) {
	l.books.closeThread(th, time, why)
	th.releaseStacks()
	l.tasks.forget(th)
}

// processOf returns the process that a record names, and makes it if necessary;
// nil when there are too many.
func (l *lives) processOf(h *event.Head, who *event.Identity) *process {
	if p := l.tasks.process(h.PID, who); p != nil {
		return p
	}
	p := l.newProcess(stream.Process{PID: viewPID(h.PID, who), HostPID: int(h.PID), ContainerPID: who.InnerPID}, h.Time, who)
	if p != nil {
		p.inherited = true // the fork, whose record is lost, may have been inside phases
	}
	return p
}

// newProcess makes a process known, unless there are too many.
func (l *lives) newProcess(id stream.Process, time int64, who *event.Identity) *process {
	if len(l.tasks.processes) >= maxProcesses {
		l.stats.ProcessesRefused++
		return nil
	}
	id.Comm = l.tasks.names.of(who.Comm)
	p := l.tasks.addProcess(id)
	p.started = &stream.ProcessChange{Time: time, Started: true}
	return p
}

// described takes what the system knows of a process.
func (l *lives) described(pid int, d Description) {
	if p := l.tasks.startedAt(pid, d.StartTime); p != nil {
		p.describe(&d)
		l.emit.started(p)
	}
}

// titled takes another title of a process. A start that has not been reported yet
// tells it.
func (l *lives) titled(pid int, started uint64, title string, time int64) {
	p := l.tasks.startedAt(pid, started)
	if p == nil || p.id.Title == title || time < p.ran || time < p.titled {
		return
	}
	l.titledNow(p, title, time)
}

func (l *lives) titledNow(p *process, title string, time int64) {
	before := p.id.Title
	p.change(func(id *stream.Process) { id.Title = title })
	if p.started == nil {
		l.emit.change(p, &stream.ProcessChange{Time: time, Titled: true, Before: before})
	}
}

func (l *lives) processExit(ev *event.ProcessExit) {
	p := l.tasks.process(ev.PID, &ev.Who)
	var in []string
	if p != nil {
		in = p.openAt(ev)
	}
	l.threadExit(&ev.ThreadExit, stream.ReasonProcessExit)
	if p != nil {
		l.endProcess(p, &stream.ProcessChange{Time: ev.Time, ExitCode: int(ev.Status), HasExit: true, In: in})
	}
}

// openAt returns the paths of the innermost phases of a process at its end. It leaves
// out those whose exits may be lost.
func (p *process) openAt(ev *event.ProcessExit) (in []string) {
	for _, th := range p.byID() {
		if th.key.TID == ev.TID && th.follows(ev.Markers, ev.Program) != (continuity{}) {
			continue
		}
		for i := range th.lanes {
			if ln := &th.lanes[i]; ln.gaps == th.gaps {
				in = ln.innermost(in)
			}
		}
	}
	return in
}

// innermost appends the paths of a lane's innermost phases.
func (ln *lane) innermost(in []string) []string {
	for _, st := range ln.stacks {
		path := st.Path()
		if path == nil || len(in) == stream.MaxEndedIn {
			continue
		}
		if text := path.String(); !slices.Contains(in, text) {
			in = append(in, text)
		}
	}
	return in
}

func (l *lives) processGone(pid int, started uint64, time int64) {
	if p := l.tasks.startedAt(pid, started); p != nil {
		l.endProcess(p, &stream.ProcessChange{Time: time})
	}
}

func (l *lives) processRemoved(pid int, started uint64, time int64) {
	if p := l.tasks.startedAt(pid, started); p != nil {
		l.closeProcess(p, time, stream.ReasonSessionEnd)
		l.endProcess(p, &stream.ProcessChange{Time: time, Removed: true})
	}
}

func (l *lives) endProcess(p *process, change *stream.ProcessChange) {
	if p.ended {
		return
	}
	p.ended = true
	if !change.HasExit {
		for _, th := range p.threads {
			th.gaps++ // not only the record of its end may be lost
		}
	}
	l.closeProcess(p, change.Time, stream.ReasonProcessExit)
	for _, th := range p.byID() {
		l.endThread(th, change.Time, stream.ReasonProcessExit)
	}
	l.ended.add(p, l.sites.list)
	if l.tasks.processes[p.id.PID] == p {
		delete(l.tasks.processes, p.id.PID)
	}
	l.emit.change(p, change)
}

// closeProcess closes what is open in a process, keyed scopes included, and
// forgets what it had.
func (l *lives) closeProcess(p *process, time int64, why stream.Reason) {
	for _, th := range p.byID() {
		l.books.closeThread(th, time, why)
	}
	l.keyed.closeAll(p, time, why)
	p.exits.clear(&l.exits)
}

// fork takes a followed child; its main thread starts inside whatever the
// parent's thread had open.
func (l *lives) fork(ev *event.Fork) {
	pid := ev.Who.ViewPID
	if pid == 0 {
		pid = int(ev.Child)
	}
	parent := l.tasks.processes[ev.Parent]
	switch old := l.tasks.processes[pid]; {
	case old == nil:
	case old.id.HostPID == 0: // found by looking, before this record of its start was read
		old.inherited = true
		old.change(func(id *stream.Process) {
			id.HostPID, id.ContainerPID = int(ev.Child), ev.Who.InnerPID
			if parent != nil {
				id.Parent = parent.id.PID
			}
		})
		return
	default:
		l.endProcess(old, &stream.ProcessChange{Time: ev.Time}) // its end was lost
	}
	child := stream.Process{
		PID: pid, HostPID: int(ev.Child), ContainerPID: ev.Who.InnerPID,
		StartTime: l.tasks.startTime(ev.Who.StartTime),
	}
	if parent != nil {
		child.Parent, child.Exe = parent.id.PID, parent.id.Exe
		child.Rank, child.RankSource = parent.id.Rank, parent.id.RankSource
	}
	if p := l.newProcess(child, ev.Time, &ev.Who); p != nil {
		p.inherited = true
		l.emit.started(p) // everything about it is known
	}
}

// reconcile reports losses that no record showed.
func (l *lives) reconcile(lost map[event.ThreadKey]event.ThreadLoss, time int64) {
	for _, k := range sortedKeys(lost) {
		n := l.losses.unreported(k, lost[k].Count)
		if n == 0 {
			continue
		}
		th := l.tasks.threads[k.TID]
		if th == nil || th.key != k {
			th = l.pastThread(k, int(lost[k].PID))
		}
		th.gaps++
		l.books.lose(th, n, time)
	}
}

// pastThread stands for a thread that has ended, or that lost every record.
func (l *lives) pastThread(k event.ThreadKey, hostPID int) *thread {
	p := l.tasks.byHost(hostPID)
	if p == nil {
		p = &process{id: &stream.Process{PID: hostPID, HostPID: hostPID}}
	}
	return &thread{key: k, process: p, id: &stream.Thread{TID: int(k.TID), HostTID: int(k.TID), Process: p.id}}
}

// finish closes everything that is still open, at the end of the session.
func (l *lives) finish(time int64) {
	l.keyed.closeAll(nil, time, stream.ReasonSessionEnd)
	for _, th := range slices.SortedFunc(maps.Values(l.tasks.threads), byHostTID) {
		l.endThread(th, time, stream.ReasonSessionEnd)
	}
	for _, id := range l.tasks.identities() {
		p := l.tasks.processes[id.PID]
		l.emit.started(p)
		p.exits.clear(&l.exits)
	}
}
