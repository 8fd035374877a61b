// SPDX-License-Identifier: Apache-2.0

package stream

// Record is something that happened in a session: a *Boundary, *Violation,
// *Orphan, *Loss, *ProcessChange or *Sample; or, in what reaches a sink, a
// *Dropped.
type Record interface{ record() }

func (*Boundary) record()      {}
func (*Violation) record()     {}
func (*Orphan) record()        {}
func (*Loss) record()          {}
func (*ProcessChange) record() {}
func (*Sample) record()        {}
func (*Dropped) record()       {}

// Sink takes the records of a session, in order. Its methods are called from
// one goroutine. What they are handed is valid during the call, and so are its
// slices: [Clone] keeps it. What it points to (paths, threads, processes,
// markers, protocol errors) never changes. An error ends the session.
type Sink interface {
	// Start is the first call.
	Start(*Start) error
	Record(Record) error
	// Flush ends a batch of records: what was written becomes visible.
	Flush() error
	// End is the last call.
	End(*Summary) error
}
