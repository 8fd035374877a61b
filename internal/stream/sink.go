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
func (*PairChange) record()    {}
func (*Sample) record()        {}
func (*Dropped) record()       {}

// Sink takes the records of a session, in order. Its methods are called from one
// goroutine. A record and its slices are valid during the call only; [Clone]
// makes a copy to keep. The threads, processes, markers, paths and protocol
// errors it points to never change and may be kept as they are. An error ends the
// session, except behind [Async].
type Sink interface {
	// Start is the first call.
	Start(*Start) error
	Record(Record) error
	// Flush ends a batch of records: what was written becomes visible.
	Flush() error
	// End is the last call.
	End(*Summary) error
}

// SummarySink is a Sink that writes nothing but the summary. Its Record and Flush
// do nothing and need not be called, so nobody has to copy records for it.
type SummarySink interface {
	Sink
	SummaryOnly()
}
