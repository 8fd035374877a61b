// SPDX-License-Identifier: Apache-2.0

package engine

import "github.com/phasetrace/phasetrace/internal/recorder"

// Stats counts what the engine met. Except for the first few, each count is of
// something that a user should know.
type Stats struct {
	Markers    uint64 // handled
	Orphans    uint64
	Lost       uint64 // markers, as gaps and the kernel's counts show
	Violations uint64
	Recorder   recorder.Stats

	TooDeep              uint64 // enters beyond the depth limit
	TooMany              uint64 // enters beyond the limit of open scopes
	Refused              uint64 // enters refused for other reasons
	TooManyKeyed         uint64 // enters beyond the limit of open keyed scopes
	Outside              uint64 // markers hit while probes were attached or detached
	UnlistedViolations   uint64 // of Violations: beyond the bound, not counted separately
	BadNames             uint64 // names null, empty or unreadable
	CutNames             uint64
	CutAttributes        uint64
	UnreadableAttributes uint64
	InvalidAttributes    uint64 // not a JSON object where a marker promises one
	ThreadsRefused       uint64 // beyond the limit
	ProcessesRefused     uint64 // beyond the limit
	Untraced             uint64 // markers of threads that were refused

	// Defects of phasetrace itself, which cannot happen:
	UnknownThreads uint64 // markers of a thread that was never announced
	Backwards      uint64 // markers with a number that the thread had passed
	FailedExits    uint64 // scopes that the recorder did not let the engine close
	UntypedErrors  uint64 // violations without a protocol error
}

// Internal is the number of records that phasetrace itself mishandled.
func (s *Stats) Internal() uint64 {
	return s.UnknownThreads + s.Backwards + s.FailedExits + s.UntypedErrors
}
