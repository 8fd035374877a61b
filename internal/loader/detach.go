// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"sync"
	"time"
)

// ErrHeld says that the kernel has not removed all probes in time. It does so
// without further ado, and frees what they use, once it gets what it waits for.
// That can be what any process of the machine makes to last: a lock of a
// program's memory map, a page that a BPF program of anybody's reads.
var ErrHeld = errors.New("the kernel has not removed all probes in time")

// DetachWithin is Detach for who cannot wait: after a time in which no link was
// removed it returns ErrHeld. The tracer can then be drained and closed. A
// process that ends meanwhile waits for the kernel all the same.
func (t *Tracer) DetachWithin(patience time.Duration, progress func(done, total int)) error {
	var mu sync.Mutex // progress is called under it, and not after the return
	over := false
	moved, result, ended := make(chan struct{}, 1), make(chan error, 1), make(chan struct{})
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
			over, t.held = true, ended
			return ErrHeld
		}
	}
}
