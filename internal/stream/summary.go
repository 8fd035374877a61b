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
	Unknown uint64
	Total   time.Duration
	Self    time.Duration // of Total, what was not in phases that the thread entered later; counted in the kernel: in the same lane
	// P50 and P99 are nearest ranks: exact of up to 32 scopes, else within 1.6 %.
	P50, P99 time.Duration
	Max      time.Duration
	Min      time.Duration
	Open     uint64 // scopes still open at the end
	// Joined counts those of Count that look as if they were elsewhere in a session's
	// boundaries: what surrounds them was entered before the attach.
	Joined uint64
	// LeftOut is the share of the session, from 0 to 1, in which the markers of its phases
	// were not traced: all figures are of the rest.
	LeftOut float64
	GPU     []PathGPU
	// Resident set size: sum of the changes and largest value, approximate.
	ResidentChange int64
	ResidentPeak   uint64
	// Outcomes count how scopes ended, where there are several ways or an error ended
	// them; in the order in which they came.
	Outcomes []OutcomeCount
	// Groups are the same figures by group, those with the largest totals first; nil
	// without a grouping. They have no Path, Groups, Ranks and Open.
	Groups []GroupStats
	// Ranks are the times by rank, in the order of the ranks; nil for fewer than two.
	Ranks []RankStats
}

// OutcomeCount counts the scopes that ended in one way; see Boundary.Outcome.
type OutcomeCount struct {
	Outcome string
	Count   uint64
}

// GroupStats are the figures of one group of a path.
type GroupStats struct {
	Kind    GroupKind
	Name    string // of a named group, valid UTF-8
	Figures PathStats
}

// GroupKind says what a group has in common.
type GroupKind uint8

// The kinds of groups.
const (
	GroupNamed GroupKind = iota // all are called the same
	GroupNone                   // none of them has what groups go by
	GroupOther                  // those that came after a limit was reached
)

// Grouped says what the groups of a session go by. The zero value is that of a
// session without groups.
type Grouped struct {
	By     string // such as "rank" or "attr.db"
	Groups int    // named ones
	Other  uint64 // scopes in groups for others
	Cut    uint64 // scopes whose group has a name too long to be kept whole
}

// RankStats are the times of a path on one rank.
type RankStats struct {
	Rank  int32
	Timed uint64 // scopes that the times are of
	Total time.Duration
	Max   time.Duration
}

// Mean is the mean duration, 0 if none is known.
func (r *RankStats) Mean() time.Duration {
	if r.Timed == 0 {
		return 0
	}
	return r.Total / time.Duration(r.Timed)
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
	// ChangeLow and ChangeHigh are the least and the most that the sum can have been,
	// by the reads at both ends of each scope.
	ChangeLow, ChangeHigh int64
	// Changes is the number of scopes whose change is known. The others were too short
	// for a read of their own, or the device could not be read.
	Changes uint64
	// Approximate counts the changes with a doubt that lies in the reads, Shared those
	// that others may have made; a change can be both, and is certain if neither.
	Approximate, Shared, Certain uint64
	Peak                         gpu.Value
	// Samples is how many reads lie within the scopes, in sum.
	Samples uint64
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
	Grouped    Grouped        // what Paths are grouped by
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
	// LeftOut are boundaries that an output leaves out as asked; all other figures
	// here include them.
	LeftOut uint64
	// Violations are the distinct defects, up to a bound; ViolationTotal counts
	// every one.
	Violations     []ViolationCount
	ViolationTotal uint64
	// Open are the scopes that were open at Time, the longest first, at most MaxOpen;
	// OpenTotal counts all of them. At the end of a session they have been closed, with
	// ReasonSessionEnd.
	Open      []OpenPhase
	OpenTotal uint64
	ZeroSites []ZeroSite
	Cost      *TracingCost // nil: not told, as by earlier versions
	// Parts are the pairs that were not traced all the time, to keep within a budget.
	Parts      []PairPart
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

// PairPart is a pair that was not traced all the time.
type PairPart struct {
	Name            string // of its phases, "" where the marker names them
	Provider, Enter string
	LeftOut         float64 // share of the session in which it was not traced, about
	Cuts            uint64  // how often it was traced less from then on
	Part            float64 // of the time that it was traced at the end: 1, less, 0
	ForGood         bool    // it was not to come back
	Budget          float64 // what tracing may cost, in relation to a program's own CPU time
}
