// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"sync"
)

// removals counts the attachments of a file that are being removed. As long as one
// is, its probes go on recording what hits them: others at the same places would
// record everything twice. Safe for concurrent use.
type removals struct {
	mu    sync.Mutex
	under int
	none  chan struct{} // closed when under is 0 again; nil while it is
}

func (r *removals) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.under++; r.under == 1 {
		r.none = make(chan struct{})
	}
}

func (r *removals) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.under--; r.under == 0 {
		close(r.none)
		r.none = nil
	}
}

// wait waits until none is under way. The error is the context's.
func (r *removals) wait(ctx context.Context) error {
	r.mu.Lock()
	none := r.none
	r.mu.Unlock()
	if none == nil {
		return nil
	}
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
