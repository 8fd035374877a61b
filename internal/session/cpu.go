// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// cpuTimes knows the CPU time of the traced processes, of those that have ended too:
// nobody else can tell of those. Its user locks.
type cpuTimes struct {
	read  func(pid int) (time.Duration, error)
	since uint64             // ticks since boot: when the session began, 0 before
	alive map[int]*cpuTime   // by PID
	ended map[int][]*cpuTime // the first to end first
	kept  int                // of ended
}

// cpuTime is that of one process.
type cpuTime struct {
	began time.Duration // when it began to be traced
	last  time.Duration // as it was read last
	known bool          // last is of its latest moment
}

// maxEndedTimes bounds the ended processes whose CPU time is kept.
const maxEndedTimes = 1 << 14

func newCPUTimes() *cpuTimes {
	return &cpuTimes{read: process.CPUTime, alive: make(map[int]*cpuTime), ended: make(map[int][]*cpuTime)}
}

// begin notes a process that is traced from now on.
func (c *cpuTimes) begin(pid int) {
	if at, err := c.read(pid); err == nil {
		c.alive[pid] = &cpuTime{began: at, last: at, known: true}
	}
}

// look reads the CPU time of processes. Those that nobody knew are new: what they did
// before the session knew of them was traced if they started in it.
func (c *cpuTimes) look(all []*stream.Process) {
	for _, p := range all {
		at, err := c.read(p.PID)
		t := c.alive[p.PID]
		switch {
		case err != nil && t != nil:
			t.known = false // its end will tell
		case err != nil:
		case t == nil && c.since > 0 && p.StartTime >= c.since:
			c.alive[p.PID] = &cpuTime{last: at, known: true}
		case t == nil:
			c.alive[p.PID] = &cpuTime{began: at, last: at, known: true}
		default:
			t.last, t.known = max(t.last, at), true
		}
	}
}

// exited takes the end of a process, with the time that the kernel told then. A zombie
// still has a clock, which is exact; what the kernel told lacks up to a tick.
func (c *cpuTimes) exited(ev *event.ProcessExit, started uint64) {
	pid := viewPID(ev)
	t := c.alive[pid]
	if t == nil {
		if c.since == 0 || started < c.since {
			return // it had a life before, of which nobody knows
		}
		t = &cpuTime{}
	}
	delete(c.alive, pid)
	t.last, t.known = max(t.last, time.Duration(ev.CPUTime)), true
	if at, err := c.read(pid); err == nil {
		t.last = max(t.last, at)
	}
	c.keep(pid, t)
}

func viewPID(ev *event.ProcessExit) int {
	if ev.Who.ViewPID != 0 {
		return ev.Who.ViewPID
	}
	return int(ev.PID)
}

func (c *cpuTimes) keep(pid int, t *cpuTime) {
	if c.kept < maxEndedTimes {
		c.ended[pid] = append(c.ended[pid], t)
		c.kept++
	}
}

// take returns the time of a process that has ended, or is not traced any more, and
// forgets it. over: what was read last is what counts.
func (c *cpuTimes) take(pid int, over bool) (cpu time.Duration, known bool) {
	if all := c.ended[pid]; len(all) > 0 {
		c.kept--
		if c.ended[pid] = all[1:]; len(all) == 1 {
			delete(c.ended, pid)
		}
		return all[0].used()
	}
	t := c.alive[pid]
	if t == nil {
		return 0, false
	}
	delete(c.alive, pid)
	if over {
		return t.used()
	}
	at, err := c.read(pid)
	t.last, t.known = max(t.last, at), err == nil
	return t.used()
}

// of returns the time of a process, which may have ended, and keeps it.
func (c *cpuTimes) of(pid int) (cpu time.Duration, known bool) {
	t := c.alive[pid]
	if all := c.ended[pid]; t == nil && len(all) == 1 {
		t = all[0]
	}
	if t == nil {
		return 0, false
	}
	return t.used()
}

func (t *cpuTime) used() (time.Duration, bool) { return t.last - t.began, t.known }
