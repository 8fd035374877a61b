// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"sync"
	"time"
)

// ErrHeld says that the kernel has not removed all probes in time. It removes them
// by itself, and frees what they use, as soon as it can. Until then it waits for
// something that any process on the machine can delay: the lock of a memory map,
// or a page that a BPF program, whoever's, reads.
var ErrHeld = errors.New("the kernel has not removed all probes in time")

// DetachWithin is Detach with a bound: when no link has been removed for as long as
// patience, it returns ErrHeld. The tracer can then be drained and closed. The
// process itself cannot end before the kernel is done.
func (t *Tracer) DetachWithin(patience time.Duration, progress func(done, total int)) error {
	var mu sync.Mutex // progress is called under it, and not after the return
	over := false
	moved, result, ended := make(chan struct{}, 1), make(chan error, 1), make(chan struct{})
	t.removing.Store(&ended)
	go func() {
		defer close(ended)
		result <- t.Detach(func(done, total int) {
			mu.Lock()
			defer mu.Unlock()
			if !over && progress != nil {
				progress(done, total)
			}
			select {
			case moved <- struct{}{}:
			default:
			}
		})
	}()
	for {
		select {
		case err := <-result:
			return err
		case <-moved:
		case <-time.After(patience):
			mu.Lock()
			defer mu.Unlock()
			over, t.held = true, true
			return ErrHeld
		}
	}
}

// detachRest detaches what was attached after DetachWithin had begun, once that is
// over.
func (t *Tracer) detachRest() {
	before, ended := *t.removing.Load(), make(chan struct{})
	t.removing.Store(&ended)
	go func() {
		defer close(ended)
		<-before
		_ = t.Detach(nil) // nobody is there to be told
	}()
}

// AwaitRemoval waits for what DetachWithin and Close have left behind. It may be
// called at any time. A process that is killed before makes Linux leave breakpoints
// and raised semaphores in the traced programs ("failed to unregister, leaking
// uprobe"), because a killed thread cannot write to their memory.
func (t *Tracer) AwaitRemoval() {
	if ended := t.removing.Load(); ended != nil {
		<-*ended
	}
}
