// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// exec closes what the old program had open. The thread that ran it goes on
// with the id of the process.
func (l *lives) exec(ev *event.Exec) {
	known := l.tasks.process(ev.PID, &ev.Who) != nil
	p := l.processOf(&ev.Head, &ev.Who)
	if p == nil {
		return
	}
	if !known {
		p.started = nil // it comes with this program: told once
	}
	survivor := l.tasks.threads[ev.FormerTID]
	if survivor != nil && (survivor.process != p || survivor.key.StartTime != ev.FormerStart) {
		survivor = nil
	}
	if survivor != nil {
		l.gapBefore(survivor, survivor.follows(ev.Markers, ev.Before), ev.Time)
	}
	for _, th := range p.threads {
		if th != survivor {
			th.gaps++ // it has ended before: the record of that was lost
		}
	}
	l.closeProcess(p, ev.Time, stream.ReasonExec)
	for _, th := range p.byID() {
		if th != survivor {
			l.endThread(th, ev.Time, stream.ReasonExec)
		}
	}
	l.emit.started(p)
	p.change(func(id *stream.Process) { id.Comm, id.Exe, id.Title = l.tasks.names.of(ev.Who.Comm), "", "" })
	p.inherited, p.ran = false, ev.Time
	p.started = &stream.ProcessChange{Time: ev.Time, Started: true, Exec: true}
	if survivor != nil {
		l.outlive(survivor, ev)
	}
}

// outlive makes the thread that ran exec the first of its process: the kernel
// gives it that thread's id.
func (l *lives) outlive(th *thread, ev *event.Exec) {
	th.program, th.nextSeq = ev.Program, ev.Markers
	th.restart(ev.Time)
	th.rename(th.process.id.Comm)
	l.tasks.last = nil
	key := event.ThreadKey{TID: ev.TID, StartTime: ev.Who.StartTime}
	if key == th.key {
		return
	}
	if old := l.tasks.threads[key.TID]; old != nil && old != th {
		l.replaced(old, ev.Time)
	}
	l.tasks.rekey(th, key)
	th.releaseStacks() // named by the old id
	th.change(func(id *stream.Thread) {
		id.HostTID, id.TID, id.ContainerTID = int(ev.TID), ev.Who.ViewTID, ev.Who.InnerTID
		if id.TID == 0 {
			id.TID = id.HostTID
		}
	})
}

// missedExec handles an exec whose record was lost: what the old program had open
// is over. The thread may have had another id there, so its earlier losses are
// left to reconcile.
func (l *lives) missedExec(th *thread, ev *event.Marker) {
	th.program = ev.Program
	p := th.process
	for _, other := range p.byID() {
		// A thread first seen since then may belong to the new program.
		if other != th && other.born <= th.time {
			l.endThread(other, ev.Time, stream.ReasonLost)
		}
	}
	l.books.closeThread(th, ev.Time, stream.ReasonLost)
	l.keyed.closeEntered(p, th.time, ev.Time, stream.ReasonLost)
	l.keys.forget(p)
	p.exits.clear(&l.exits)
	th.restart(ev.Time)
}
