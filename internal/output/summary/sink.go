// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"io"

	"github.com/phasetrace/phasetrace/internal/trace"
)

// Sink is a trace.Sink that writes nothing but the summary, at the end.
type Sink struct {
	w io.Writer
	o Options
}

var _ trace.Sink = (*Sink)(nil)

// New returns a sink over w, which it does not close.
func New(w io.Writer, o Options) *Sink { return &Sink{w: w, o: o} }

// Start writes nothing.
func (*Sink) Start(*trace.Start) error { return nil }

// Process writes nothing.
func (*Sink) Process(*trace.ProcessChange) error { return nil }

// Boundary writes nothing.
func (*Sink) Boundary(*trace.Boundary) error { return nil }

// Violation writes nothing.
func (*Sink) Violation(*trace.Violation) error { return nil }

// Orphan writes nothing.
func (*Sink) Orphan(*trace.Orphan) error { return nil }

// Loss writes nothing.
func (*Sink) Loss(*trace.Loss) error { return nil }

// GPUSample writes nothing.
func (*Sink) GPUSample(*trace.GPUSample) error { return nil }

// Flush has nothing to do.
func (*Sink) Flush() error { return nil }

// End writes the summary.
func (s *Sink) End(r *trace.Summary) error { return Write(s.w, r, s.o) }
