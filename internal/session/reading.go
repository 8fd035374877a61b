// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// loop reads until something ends the session.
func (s *Session) loop(ctx context.Context) (reason string, err error) {
	var deadline <-chan time.Time
	if s.cfg.Duration > 0 {
		timer := time.NewTimer(s.cfg.Duration)
		defer timer.Stop()
		deadline = timer.C
	}
	for {
		if err := s.read(); err != nil {
			return "error", err
		}
		select {
		case <-ctx.Done():
			return "interrupt", nil
		case <-deadline:
			return "duration", nil
		default:
		}
		if s.over() {
			return "target_exit", nil
		}
	}
}

// over reports whether no target is left.
func (s *Session) over() bool {
	if len(s.cfg.Executables) > 0 {
		return false // the next may start at any time
	}
	users, all := s.core.left()
	return users == 0 && (all == 0 || !s.cfg.Follow)
}

// read handles one batch of events and lets the sink show it.
func (s *Session) read() error {
	read := clock.Monotonic()
	locked := false
	tracer := s.watcher.tracer
	n, err := tracer.Read(time.Now().Add(s.mode.interval()), func(ev event.Event) {
		if !locked {
			s.core.begin()
			locked = true
		}
		s.core.handle(ev)
		if _, marker := ev.(*event.Marker); marker {
			return // nearly all are
		}
		s.trapped.note(ev)
		s.costs.note(ev)
		if c, ok := s.naming.changeOf(ev); ok {
			s.describe(c)
			s.watcher.changed(c)
		}
	})
	if !locked {
		s.core.begin()
	}
	now := clock.Monotonic()
	if n == loader.MaxBatch {
		read = s.core.last // more is unread
	}
	gone, sinkErr := s.core.done(now, read)
	s.trapped.tell(s.cfg.Message)
	for _, e := range gone {
		s.watcher.inbox.post(func() { s.watcher.gone(e) })
	}
	if s.core.checkClocks(now) {
		s.tellSampler()
	}
	s.costs.poll(now)
	return errors.Join(err, s.mode.poll(now), sinkErr)
}

// describe completes a process that has run another program. The core is locked.
func (s *Session) describe(c change) {
	if !c.exec || s.watcher.tracer.Held(c.pid) {
		return // it waits until the watcher has looked at it
	}
	if d, ok := s.describer.ask(c.pid); ok {
		s.core.engine.Described(c.pid, d)
	}
}

// finish detaches, drains and sums up. stopped is closed when the watcher's
// goroutine has returned.
func (s *Session) finish(reason string, stopped <-chan struct{}) (*stream.Summary, error) {
	w, deadline := s.watcher, time.Now().Add(endTime)
	s.costs.detaching()
	s.core.detaching(clock.Monotonic())
	errs := []error{s.mode.detaching(clock.Monotonic())}
	quiet := s.quiet(stopped, deadline)
	if quiet {
		defer w.mu.Unlock()
	}
	held, err := s.detach(deadline)
	if len(held) == 0 {
		w.guards.close()
	} else {
		w.left.Store(true)
	}
	errs = append(errs, err, w.tracer.Drain(s.drained))
	s.trapped.tell(s.cfg.Message)
	now := clock.Monotonic()
	errs = append(errs, s.mode.finish(w.plan))
	sum, err := s.close(reason, now)
	errs = append(errs, err)
	sum.Notes = append(sum.Notes, held...)
	if quiet {
		w.follower.leaveChanges()
		w.report.flush()
		w.targets.tellForks(w.report)
		s.finalNotes(sum)
	}
	return sum, errors.Join(append(errs, s.core.out.finish(sum))...)
}

// drained takes an event after the probes have been removed.
func (s *Session) drained(ev event.Event) {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	s.core.engine.Begin()
	s.core.handle(ev)
	s.core.engine.End()
	s.trapped.note(ev)
	if c, ok := s.naming.changeOf(ev); ok {
		s.watcher.follower.changes.add(c)
	}
}

// close ends everything that is open and sums up.
func (s *Session) close(reason string, now int64) (*stream.Summary, error) {
	lost, lostErr := s.watcher.tracer.LostByThread()
	c := s.core
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.Begin()
	if lostErr == nil {
		c.engine.Reconcile(lost, now)
	}
	c.takeTitles(now)
	c.endProcesses(now)
	open, total := c.engine.Open(stream.MaxOpen)
	c.engine.Finish(now)
	c.engine.End()
	c.out.advance(now, now, true)
	sum, err := s.summary(reason, now)
	sum.Open, sum.OpenTotal = open, total
	return sum, errors.Join(lostErr, err)
}

// detaching says that probes are about to be removed.
func (c *core) detaching(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.Detaching(now)
}

// finish hands the summary to the sink, and returns its first error.
func (q *waiting) finish(sum *stream.Summary) error {
	if q.err == nil {
		q.note(q.sink.End(sum))
	}
	return q.err
}

// lostMarkers is the kernel's count of lost markers, see engine.Config.Lost.
func (s *Session) lostMarkers() (all, stateless uint64) {
	st, err := s.watcher.tracer.Stats()
	if err != nil {
		return math.MaxUint64, math.MaxUint64 // unknown: nobody is to blame
	}
	return st.Lost + st.LostNoState, st.LostNoState
}
