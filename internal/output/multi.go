// SPDX-License-Identifier: Apache-2.0

package output

import (
	"errors"

	"github.com/phasetrace/phasetrace/internal/trace"
)

// Multi returns a sink that hands every record to each of the sinks, in their
// order. All of them are called even when one fails; the errors are joined.
func Multi(sinks ...trace.Sink) trace.Sink {
	if len(sinks) == 1 {
		return sinks[0]
	}
	return multi(sinks)
}

type multi []trace.Sink

// each avoids a closure per record: the method expression and the record are
// all there is to a call.
func each[R any](m multi, r R, call func(trace.Sink, R) error) error {
	var failed error
	for _, s := range m {
		if err := call(s, r); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (m multi) Start(r *trace.Start) error           { return each(m, r, trace.Sink.Start) }
func (m multi) Process(r *trace.ProcessChange) error { return each(m, r, trace.Sink.Process) }
func (m multi) Boundary(r *trace.Boundary) error     { return each(m, r, trace.Sink.Boundary) }
func (m multi) Violation(r *trace.Violation) error   { return each(m, r, trace.Sink.Violation) }
func (m multi) Orphan(r *trace.Orphan) error         { return each(m, r, trace.Sink.Orphan) }
func (m multi) Loss(r *trace.Loss) error             { return each(m, r, trace.Sink.Loss) }
func (m multi) GPUSample(r *trace.GPUSample) error   { return each(m, r, trace.Sink.GPUSample) }
func (m multi) End(r *trace.Summary) error           { return each(m, r, trace.Sink.End) }

func (m multi) Flush() error {
	var failed error
	for _, s := range m {
		if err := s.Flush(); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
