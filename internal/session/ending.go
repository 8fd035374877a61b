// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	// endTime is how long the end of a session waits for the kernel: to return from
	// attaching, and to remove probes.
	endTime = time.Second
	// slowEndTime is how long it waits for the next probe to be removed where they
	// are removed one by one, each at the cost of a grace period.
	slowEndTime = 10 * time.Second
	// leastTime is how much of endTime removing probes gets at the least.
	leastTime = endTime / 5
)

// errHeld says that a call into the kernel does not return. Any process that has
// the file mapped can cause that: the kernel waits for the lock of its memory map,
// and a process can keep that lock while it waits for a page.
var errHeld = errors.New("the kernel does not return from attaching or removing probes: a program that has one of the files mapped makes it wait, for a file system that does not answer or for a device")

// bounded runs f, which attaches. Once the context is over it waits for f no longer
// than endTime. If f hangs, it is left behind and keeps the watcher's lock.
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
		return fmt.Errorf("interrupted: %w", errHeld)
	}
}

// quiet waits for the watcher's goroutine to return, locks the watcher and settles
// the semaphores. At the deadline it gives up and returns false: the watcher hangs
// in the kernel, and its fields must not be used any more.
func (s *Session) quiet(stopped <-chan struct{}, deadline time.Time) bool {
	w, ready := s.watcher, make(chan struct{})
	var over atomic.Bool // set by whichever comes first, the lock or the deadline
	go func() {
		<-stopped
		w.mu.Lock()
		w.settler.settleAll()
		if over.Swap(true) {
			w.mu.Unlock()
			return
		}
		close(ready)
	}()
	select {
	case <-ready:
		return true
	case <-time.After(time.Until(deadline)):
	}
	if over.Swap(true) {
		<-ready
		return true
	}
	s.stuck.Store(true)
	s.cfg.Message("warning: " + errHeld.Error())
	return false
}

// detach removes every probe. If that takes too long it says so, and returns a note
// for the summary.
func (s *Session) detach(deadline time.Time) ([]stream.Note, error) {
	patience := max(time.Until(deadline), leastTime)
	if !s.watcher.tracer.Features().UprobeMulti {
		patience = slowEndTime
	}
	s.detaching.Store(s.watcher.tracer)
	err := s.watcher.tracer.DetachWithin(patience, s.detachProgress())
	if !errors.Is(err, loader.ErrHeld) {
		return nil, err
	}
	const held = "probes could not be removed in time: the kernel removes them as soon as it can; a program makes it wait, for a file system that does not answer or for a device"
	s.cfg.Message("warning: " + held)
	return []stream.Note{{What: held}}, nil
}

// Settle waits until nothing is being attached or removed any more, which Run, Add
// and Close do not when the kernel takes too long. A process should not end before:
// what Linux cannot finish it leaves in the traced programs. It may be called at any
// time.
func (s *Session) Settle() {
	s.costs.settle()
	s.watcher.mu.Lock() // what attaches has it
	t := s.detaching.Load()
	s.watcher.mu.Unlock()
	if t != nil {
		t.AwaitRemoval()
	}
}
