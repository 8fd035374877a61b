// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/session"
)

// snapshots are the requests for a snapshot. A worker gets them from its front, and
// none by itself: who sends the signal to all processes of this name means one.
func (o *traceOptions) snapshots(s *streams) (requests <-chan os.Signal, stop func()) {
	switch {
	case len(o.command) > 0 || !s.ownProcess:
		return nil, func() {}
	case s.worker != nil:
		signal.Ignore(forSnapshot)
		return s.worker.Told(), func() {}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, forSnapshot)
	return signals, func() { signal.Stop(signals) }
}

// showSnapshots writes the figures so far, and what is open, to standard error on each
// request.
func (o *traceOptions) showSnapshots(ctx context.Context, traced *session.Session, requests <-chan os.Signal, s *streams) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-requests:
			options := o.summaryOptions(isTerminal(s.err), columns(s.err))
			_ = summary.Write(s.err, traced.Snapshot(), options) // there is nobody to tell
		}
	}
}
