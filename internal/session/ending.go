// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	// endTime is how long the end of a session waits for the kernel, to come back
	// from attaching and to remove probes.
	endTime = time.Second
	// slowEndTime is how long it waits for the next probe to be removed where they
	// are removed one by one, each at the cost of a grace period.
	slowEndTime = 10 * time.Second
	// leastTime is what removing probes gets of endTime at least.
	leastTime = endTime / 5
)

// errAttaching says that the kernel does not come back from attaching. Whoever
// maps the file can bring that about: it waits for the memory map's lock, which a
// program keeps while it waits for a page in certain ways.
var errAttaching = errors.New("the kernel has not come back from attaching probes: a program that has one of the files mapped keeps it waiting, for a file system that does not answer or for a device")

// bounded runs what attaches. Once the context is over it waits for its end no
// longer than endTime: what hangs is left behind, with the watcher's lock.
func (s *Session) bounded(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(endTime):
		s.stuck.Store(true)
		return fmt.Errorf("interrupted: %w", errAttaching)
	}
}

// quiet waits for the watcher's goroutine to stop, and locks the watcher. It gives
// up at the deadline: the watcher hangs in the kernel, and what is its own cannot be
// used any more.
func (s *Session) quiet(stopped <-chan struct{}, deadline time.Time) bool {
	select {
	case <-stopped:
		if s.watcher.lockUntil(deadline) {
			return true
		}
	case <-time.After(time.Until(deadline)):
	}
	s.stuck.Store(true)
	s.cfg.Message("warning: " + errAttaching.Error())
	return false
}

// lockUntil locks the watcher, if that can be done before the deadline.
func (w *watcher) lockUntil(deadline time.Time) bool {
	for !w.mu.TryLock() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// detach removes every probe. What could not be removed in time it tells, and
// returns as a note.
func (s *Session) detach(deadline time.Time) ([]stream.Note, error) {
	patience := max(time.Until(deadline), leastTime)
	if !s.watcher.tracer.Features().UprobeMulti {
		patience = slowEndTime
	}
	err := s.watcher.tracer.DetachWithin(patience, s.detachProgress())
	if !errors.Is(err, loader.ErrHeld) {
		return nil, err
	}
	const held = "probes could not be removed in time: the kernel removes them once a program goes on that keeps it waiting, for a file system that does not answer or for a device"
	s.cfg.Message("warning: " + held)
	return []stream.Note{{What: held}}, nil
}
