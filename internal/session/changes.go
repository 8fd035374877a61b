// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"sync"

	"github.com/phasetrace/phasetrace/internal/event"
)

// change is a process whose mapped files may have changed.
type change struct {
	pid   int
	since int64 // of the event that told of it
	exec  bool
	start bool // a watched file is about to run its first code
	again bool // nobody told: an earlier look was too early
	// returns: pairs that were left out to keep within a budget are to be attached again.
	returns bool
	// stoppable: it waits, or may wait, on its main thread.
	stoppable bool
	// replaced: the thread that ran exec was not the main one and has taken its
	// place; probes that were attached for the process are gone with the old.
	replaced bool
	file     event.File // of an exec: to let the process go on
	halted   bool       // it has been stopped
	// overtaken are the programs that the process has run before, since the last
	// look.
	overtaken []event.File
	rewritten *pending // the file because of which the process is looked at again
	tries     int      // looks that took too long
	added     added
}

// maxOvertaken bounds the programs that one process runs between two looks.
const maxOvertaken = 1 << 10

// changeOf returns the change that an event tells of, if it does.
func changeOf(ev event.Event) (c change, ok bool) {
	switch ev := ev.(type) {
	case *event.Library:
		c = change{pid: ev.Who.ViewPID, since: ev.Time}
	case *event.FileStart:
		c = change{pid: ev.Who.ViewPID, since: ev.Time, start: true, stoppable: ev.TID == ev.PID}
	case *event.Exec:
		c = change{pid: ev.Who.ViewPID, since: ev.Time, exec: true, stoppable: true, replaced: ev.FormerTID != ev.TID, file: ev.File}
	}
	return c, c.pid != 0 // a process without an id here cannot be looked at
}

// changes are those that nobody has looked at yet, one for each process.
type changes struct {
	mu   sync.Mutex
	list []change
}

// add notes a change.
func (l *changes) add(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if old := &l.list[i]; old.pid == c.pid {
			if c.exec {
				c.replaced, c.halted = c.replaced || old.replaced, c.halted || old.halted
				if c.overtaken = old.overtaken; old.exec && len(c.overtaken) < maxOvertaken {
					c.overtaken = append(c.overtaken, old.file)
				}
				c.added.join(old.added)
				*old = c // what came before is gone
				return
			}
			old.added.join(c.added)
			old.start, old.halted = old.start || c.start, old.halted || c.halted
			return
		}
	}
	l.list = append(l.list, c)
}

// next takes the change to look at first: programs that wait come before
// libraries. It returns with it those of other programs that run the same file.
func (l *changes) next() (first change, same []change, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == 0 {
		return change{}, nil, false
	}
	i := max(slices.IndexFunc(l.list, func(c change) bool { return c.exec || c.start }), 0)
	first = l.list[i]
	l.list = slices.DeleteFunc(slices.Delete(l.list, i, i+1), func(c change) bool {
		if !first.exec || !c.exec || c.file != first.file || c.start {
			return false
		}
		same = append(same, c)
		return true
	})
	return first, same, true
}
