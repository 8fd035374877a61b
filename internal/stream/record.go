// SPDX-License-Identifier: Apache-2.0

package stream

import (
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
	// ReasonProbesRemoved: the file of its markers was written to, and its probes
	// were removed before that.
	ReasonProbesRemoved Reason = "probes_removed"
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
	Self      int64 // exits: ns of Duration that were not in inner phases of the same lane
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

// Sample is one read of a device.
type Sample struct {
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
	Removed    bool // ended: it goes on, and is not traced any more
}
