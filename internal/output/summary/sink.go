// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"io"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// Sink is a stream.Sink that writes nothing but the summary, at the end.
type Sink struct {
	w io.Writer
	o Options
}

var _ stream.SummarySink = (*Sink)(nil)

// New returns a sink over w, which it does not close.
func New(w io.Writer, o Options) *Sink { return &Sink{w: w, o: o} }

// Start writes nothing.
func (*Sink) Start(*stream.Start) error { return nil }

// Record writes nothing.
func (*Sink) Record(stream.Record) error { return nil }

// SummaryOnly says that no record is needed.
func (*Sink) SummaryOnly() {}

// Flush has nothing to do.
func (*Sink) Flush() error { return nil }

// End writes the summary.
func (s *Sink) End(r *stream.Summary) error { return Write(s.w, r, s.o) }
