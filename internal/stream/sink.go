// SPDX-License-Identifier: Apache-2.0

package stream

// Record is something that happened in a session: a *Boundary, *Violation,
// *Orphan, *Loss, *ProcessChange or *Sample.
type Record interface{ record() }

func (*Boundary) record()      {}
func (*Violation) record()     {}
func (*Orphan) record()        {}
func (*Loss) record()          {}
func (*ProcessChange) record() {}
func (*Sample) record()        {}

// Sink takes the records of a session, in order. Its methods are called from
// one goroutine. What they are handed, and what that points to, is valid during
// the call: [Clone] keeps it. An error ends the session, except behind [Async].
type Sink interface {
	// Start is the first call.
	Start(*Start) error
	Record(Record) error
	// Flush ends a batch of records: what was written becomes visible.
	Flush() error
	// End is the last call.
	End(*Summary) error
}
