// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// Reason says why phasetrace closed (or opened) a scope itself. Real
// boundaries have none.
type Reason string

// The reasons of synthetic boundaries.
const (
	ReasonNone        Reason = ""
	ReasonUnwound     Reason = "unwound"      // something below it on the stack was closed
	ReasonAbandoned   Reason = "abandoned"    // its pair, which is not reentrant, was entered again
	ReasonThreadExit  Reason = "thread_exit"  // its thread ended
	ReasonProcessExit Reason = "process_exit" // its process ended
	ReasonExec        Reason = "exec"         // its process ran another program
	ReasonSessionEnd  Reason = "session_end"  // tracing ended before it did
	ReasonLost        Reason = "records_lost" // its own record was lost
)

// LostName is the name of a scope whose enter was lost.
const LostName = "(lost)"

// Process is a traced process. Its ids never change; Exe, Comm and Rank may at
// an exec.
type Process struct {
	PID          int // in the PID namespace phasetrace runs in; the host's where it has none there
	HostPID      int // in the initial PID namespace, 0 until a record told it
	ContainerPID int // in the process's own PID namespace; equals PID outside containers
	Comm         string
	Exe          string
	Rank         int32
	RankSource   string // the variable or marker the rank comes from, "" for the default
	Parent       int    // PID of the followed parent, 0 for a target given by the user
	StartTime    uint64 // clock ticks since boot, tells reused ids apart; 0 if unknown
}

// Thread is a thread of a traced process.
type Thread struct {
	TID          int // in the PID namespace phasetrace runs in; the host's where it has none there
	HostTID      int
	ContainerTID int
	Name         string
	Process      *Process
}

// Marker is where a record comes from.
type Marker struct {
	Provider string
	Probe    string
	Path     string // file that holds the site, as the target names it
	Offset   uint64 // of the site in that file
}

// Counters are a thread's counters. On an exit they count within the scope,
// its children included.
type Counters struct {
	VoluntarySwitches   uint32
	InvoluntarySwitches uint32
	MinorFaults         uint32
	MajorFaults         uint32
}

// Resident is the resident set size of a process at a boundary, in bytes.
type Resident struct {
	Bytes       uint64
	Change      int64 // exits: against the enter
	Known       bool
	ChangeKnown bool
	// Error bounds how far Bytes may be off, in bytes: the kernel counts per
	// CPU. 0 means exact.
	Error uint64
}

// Boundary is an accepted enter or exit with everything known about it. It and
// what it points to are valid until the sink's method returns.
type Boundary struct {
	recorder.Boundary
	Time      int64 // ns, CLOCK_MONOTONIC
	Unix      int64 // ns, Unix time
	Duration  int64 // exits: ns since the enter
	Thread    *Thread
	Marker    *Marker // nil on boundaries that no marker made
	Synthetic Reason
	// ExitThread is set when a keyed scope ends on another thread than it began.
	ExitThread  *Thread
	Counters    Counters // exits
	HasCounters bool
	Resident    Resident
	GPU         []gpu.Reading
	// ProcessGPU is parallel to GPU; nil when process lists are not read.
	ProcessGPU []gpu.ProcessReading
	// Key is the value that matched a keyed pair, if Keyed.
	Key   uint64
	Keyed bool
}

// Violation is a break of strict nesting by the traced program. The same
// defect is told once and then counted; see Summary.Violations.
type Violation struct {
	Time, Unix int64
	Thread     *Thread
	Marker     *Marker // the exit that broke it
	Err        *recorder.ProtocolError
	// ClosingStart and TopStart are when the two scopes of Err began, ns
	// CLOCK_MONOTONIC; 0 when there is no such scope.
	ClosingStart, TopStart int64
	// Repaired says what was done about the stack.
	Repaired string
}

// Orphan is an exit whose enter lies before the attach, or was lost.
type Orphan struct {
	Time, Unix int64
	Thread     *Thread
	Marker     *Marker
	Reason     string // "before_attach", "untraced", "inherited" or "records_lost"
}

// Loss is a gap in a thread's records.
type Loss struct {
	Time, Unix int64 // of the first record after the gap
	Thread     *Thread
	Count      uint64
}

// GPUSample is one read of a device.
type GPUSample struct {
	gpu.Sample
	Unix   int64 // of its middle
	Device gpu.Device
	// Phase is who was active then.
	Phase recorder.Attribution
}

// ProcessChange is a process that joined or left the session.
type ProcessChange struct {
	Time, Unix int64
	Process    *Process
	Started    bool
	Exec       bool // Started: by running another program
	ExitCode   int  // ended: as wait(2) gives it, valid if HasExit
	HasExit    bool
}

// Start opens a session.
type Start struct {
	Time, Unix int64
	SessionID  string
	Host       string
	Version    string
	Kernel     string
	Processes  []*Process
	Pairs      []PairInfo
	Devices    []gpu.Device
	GPUStatus  string // why there are no devices, "" when there are
}

// PairInfo says which pair is traced.
type PairInfo struct {
	Name     string // phase name, or where it comes from
	Provider string
	Enter    string
	Exits    []string
	Lane     string
	Origin   string
	Sites    int
}

// PathStats are the figures of one path.
type PathStats struct {
	Path  *recorder.Path
	Count uint64 // closed scopes, real and synthetic
	// Synthetic counts those of Count that phasetrace closed itself; their
	// durations are left out of the figures below.
	Synthetic uint64
	Total     time.Duration
	Self      time.Duration // Total less the time in inner phases of the same lane
	P50, P99  time.Duration // within 1.6 % of the exact quantile
	Max       time.Duration
	Min       time.Duration
	Open      uint64 // scopes still open at the end
	GPU       []PathGPU
	// Resident set size: sum of the changes and largest value, approximate.
	ResidentChange int64
	ResidentPeak   uint64
}

// ProcessStats are the figures of the paths of one process.
type ProcessStats struct {
	Process *Process
	Paths   []PathStats
}

// PathGPU is a path's memory on one device.
type PathGPU struct {
	Device int
	Change gpu.Delta // sum over Changes of its scopes
	// Changes is of how many scopes the change is known.
	Changes uint64
	Peak    gpu.Value
}

// ViolationCount is one defect and how often it was seen.
type ViolationCount struct {
	First Violation
	Count uint64
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
	// Violations are the distinct defects, up to a bound; ViolationTotal counts
	// every one.
	Violations     []ViolationCount
	ViolationTotal uint64
	ZeroSites      []ZeroSite
	Notes          []Note
	Devices        []gpu.Device
	GPUStatus      string
	GPUSamples     uint64
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

// Sink writes a session somewhere. Its methods are called from one goroutine;
// what they are handed is valid during the call. An error ends the session.
type Sink interface {
	Start(*Start) error
	Process(*ProcessChange) error
	Boundary(*Boundary) error
	Violation(*Violation) error
	Orphan(*Orphan) error
	Loss(*Loss) error
	GPUSample(*GPUSample) error
	// Flush ends a batch of records: what was written becomes visible.
	Flush() error
	// End is the last call.
	End(*Summary) error
}
