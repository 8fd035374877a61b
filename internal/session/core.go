// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// core is what events go through on their way to the sink: engine, figures and
// the wait for device samples. Its methods lock; the lock is held for the time of
// a batch or of a short change, never across I/O.
type core struct {
	mu     sync.Mutex
	engine *engine.Engine
	out    waiting
	clock  *clock.Unix
	// users are the processes that the user named and that have not ended.
	users   map[int]bool
	ending  []ending
	retired []retired
	titles  []titled
	last    int64 // time of the last event handled
	running bool  // somebody reads
}

// ending is a process that has ended. What it did before may still be unread.
type ending struct {
	pid     int
	started uint64 // stream.Process.StartTime
	at      int64  // ns, CLOCK_MONOTONIC: when its end was noticed
	removed bool   // it still runs, but is no longer traced
	done    chan struct{}
}

// titled is a title that a process has. What it did before that was read may still be
// unread.
type titled struct {
	pid     int
	started uint64 // stream.Process.StartTime
	title   string
	at      int64 // when it was read
}

// retired are sites whose probes have been removed. Their last records may still
// be unread.
type retired struct {
	at   int64 // when no hit could come any more
	read func()
}

// handle takes one event, between begin and done.
func (c *core) handle(ev event.Event) {
	c.engine.Handle(ev)
	c.last = ev.Common().Time
}

// begin locks for a batch of events.
func (c *core) begin() {
	c.mu.Lock()
	c.engine.Begin()
}

// done ends a batch and unlocks. All records up to the time read are in it or
// were before. It returns the first error of the sink, and the processes that
// are over.
func (c *core) done(now, read int64) (gone []ending, err error) {
	defer c.mu.Unlock()
	c.takeTitles(read)
	gone = c.endProcesses(read)
	c.engine.End()
	c.tellRetired(read)
	c.out.advance(now, read, false)
	c.out.flush()
	return gone, c.out.err
}

// endProcesses tells the engine of processes that have ended and of which
// everything has been read, and returns those that are over.
func (c *core) endProcesses(read int64) (gone []ending) {
	rest := c.ending[:0]
	for _, e := range c.ending {
		if e.at > read {
			rest = append(rest, e)
			continue
		}
		if e.removed {
			c.engine.RemoveProcess(e.pid, e.started, e.at)
		} else {
			c.engine.ProcessGone(e.pid, e.started, e.at)
			gone = append(gone, e)
		}
		delete(c.users, e.pid)
		close(e.done)
	}
	c.ending = rest
	return gone
}

// takeTitles tells the engine of titles up to a time of which everything has been read.
func (c *core) takeTitles(read int64) {
	rest := c.titles[:0]
	for _, t := range c.titles {
		if t.at > read {
			rest = append(rest, t)
			continue
		}
		c.engine.Titled(t.pid, t.started, t.title, t.at)
	}
	c.titles = rest
}

// titled takes titles that were read.
func (c *core) titled(all []titled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.titles = append(c.titles, all...)
}

// tellRetired tells of sites of which everything has been read.
func (c *core) tellRetired(read int64) {
	rest := c.retired[:0]
	for _, r := range c.retired {
		if r.at > read {
			rest = append(rest, r)
			continue
		}
		r.read()
	}
	c.retired = rest
}

// endSoon notes that a process has ended.
func (c *core) endSoon(e ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range c.ending {
		if old.pid == e.pid && old.started == e.started {
			return
		}
	}
	e.done = make(chan struct{})
	c.ending = append(c.ending, e)
}

// settle waits until a process that was removed is over for the engine, so that
// it can be added again.
func (c *core) settle(ctx context.Context, pid int) error {
	for {
		c.mu.Lock()
		i := slices.IndexFunc(c.ending, func(e ending) bool { return e.pid == pid })
		if i < 0 {
			c.mu.Unlock()
			return nil
		}
		if !c.running { // nothing will be read before what is added
			c.engine.Begin()
			c.endProcesses(math.MaxInt64)
			c.engine.End()
			c.mu.Unlock()
			return nil
		}
		done := c.ending[i].done
		c.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// setRunning says whether somebody reads.
func (c *core) setRunning(is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = is
}

// retire notes that the probes of sites have been removed. read is called, with
// the lock held, once their records have been read.
func (c *core) retire(read func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = append(c.retired, retired{clock.Monotonic(), read})
}

// removeSites lets go of sites of which everything has been read. Their numbers
// are given to others.
func (c *core) removeSites(sites []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.Begin()
	defer c.engine.End()
	for _, id := range sites {
		c.engine.RemoveSite(id)
	}
}

func (c *core) addSite(s *engine.Site) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.AddSite(s)
}

func (c *core) addProcess(p stream.Process, user bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.AddProcess(p)
	if user {
		c.users[p.PID] = true
	}
}

func (c *core) described(pid int, d engine.Description) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.Begin()
	c.engine.Described(pid, d)
	c.engine.End()
}

// attaching tells the engine that sites are about to be attached.
func (c *core) attaching(sites []probe.Site) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.Attaching(sites)
}

// attached tells the engine that sites are attached, for one process or for all
// (pid 0), from the time of the call on.
func (c *core) attached(pid int, sites []probe.Site) (now int64, boot uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, boot = clock.Monotonic(), uint64(clock.Boot())
	c.engine.Attached(pid, sites, now, boot)
	return now, boot
}

// enters tells the engine of which pairs any enter is attached.
func (c *core) enters(attached map[*engine.Pair]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, is := range attached {
		c.engine.EntersAttached(p, is)
	}
}

func (c *core) hits(site uint32) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Hits(site)
}

// process returns a living process by its id here, and whether there is one.
func (c *core) process(pid int) (stream.Process, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.engine.Process(pid); p != nil {
		return *p, true
	}
	return stream.Process{}, false
}

// processes returns the living processes.
func (c *core) processes() []*stream.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Processes()
}

// left returns how many processes that the user named, and how many at all, have
// not ended.
func (c *core) left() (users, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.users), len(c.engine.Processes())
}

// unix returns the Unix time, in ns, of a monotonic time.
func (c *core) unix(at int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock.At(at)
}

// checkClocks compares the clocks about once a second and reports whether it did.
func (c *core) checkClocks(now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock.Check(now)
}

// elapsed is a span between two monotonic times.
func elapsed(from, to int64) time.Duration { return time.Duration(to - from) }

// closes makes a point prove another pair to be over.
func (c *core) closes(s *engine.Site, p *engine.Pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Over = append(s.Over, p)
}

// resets says of which pairs nothing can be open when p is entered.
func (c *core) resets(p *engine.Pair, of []*engine.Pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.Resets = of
}
