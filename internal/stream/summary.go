// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// PathStats are the figures of one path.
type PathStats struct {
	Path  *recorder.Path
	Count uint64 // closed scopes, real and synthetic
	// Synthetic counts those of Count that phasetrace closed itself; their
	// durations are left out of the figures below.
	Synthetic uint64
	// Unknown counts those of Count, besides Synthetic, whose duration is not known;
	// see Boundary.Doubt. It is left out as well.
	Unknown  uint64
	Total    time.Duration
	Self     time.Duration // Total less the time in inner phases of the same lane
	P50, P99 time.Duration // within 1.6 % of the exact quantile
	Max      time.Duration
	Min      time.Duration
	Open     uint64 // scopes still open at the end
	GPU      []PathGPU
	// Resident set size: sum of the changes and largest value, approximate.
	ResidentChange int64
	ResidentPeak   uint64
}

// Timed is how many scopes the durations are of.
func (s *PathStats) Timed() uint64 { return s.Count - s.Synthetic - s.Unknown }

// ProcessStats are the figures of the paths of one process.
type ProcessStats struct {
	Process *Process
	Paths   []PathStats
}

// PathGPU is a path's memory on one device.
type PathGPU struct {
	Device int
	Change gpu.Delta // sum over Changes of its scopes
	// Changes is the number of scopes whose change is known.
	Changes uint64
	Peak    gpu.Value
}

// OpenPhase is a scope that was open when a summary was made.
type OpenPhase struct {
	Path       *recorder.Path
	SessionID  string
	Scope      uint64 // sequence of its enter
	Lane       string // "" for the default one
	Thread     *Thread
	Since      int64  // of its enter, ns CLOCK_MONOTONIC
	Attributes []byte // of its enter, a JSON object; nil for none
}

// MaxOpen bounds Summary.Open.
const MaxOpen = 100

// ViolationCount is one defect and how often it was seen.
type ViolationCount struct {
	First Violation
	Count uint64
}

// OrphanCount is how many orphan exits there were for one reason.
type OrphanCount struct {
	Reason OrphanReason
	Count  uint64
}

// Note is something the user should know: what was not traced, cut, skipped.
type Note struct {
	What  string
	Count uint64
}

// ZeroSite is a site that was attached and never hit.
type ZeroSite struct {
	Marker Marker
	Remedy string // what is known about why, "" if nothing
}

// Summary closes a session.
type Summary struct {
	SessionID  string
	Time, Unix int64
	Elapsed    time.Duration
	EndReason  string // "interrupt", "target_exit", "duration", "error"
	Paths      []PathStats
	Processes  []ProcessStats // with Options.Aggregate: Paths by process
	Boundaries uint64
	Synthetic  uint64
	Received   uint64 // marker records read
	Lost       uint64 // marker records lost
	LostOther  uint64 // thread, exit, exec and fork records lost
	Orphans    uint64
	// OrphanReasons are the Orphans by reason, the most frequent first.
	OrphanReasons []OrphanCount
	// Dropped are records that an output was too slow for. A sink behind [Async]
	// sees its own; all other figures here include them.
	Dropped Counts
	// Violations are the distinct defects, up to a bound; ViolationTotal counts
	// every one.
	Violations     []ViolationCount
	ViolationTotal uint64
	// Open are the scopes that were open at Time, the longest first, at most MaxOpen;
	// OpenTotal counts all of them. At the end of a session they have been closed, with
	// ReasonSessionEnd.
	Open       []OpenPhase
	OpenTotal  uint64
	ZeroSites  []ZeroSite
	Notes      []Note
	Devices    []gpu.Device
	GPUStatus  string
	GPUSamples uint64
	// RunPeak is the highest use seen on each device and the phase that was
	// active then.
	RunPeak []RunPeak
}

// RunPeak is the highest use of one device in the session.
type RunPeak struct {
	Device int
	Used   gpu.Value
	Time   int64
	Phase  recorder.Attribution
}
