// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"strconv"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// Reason says why phasetrace closed (or opened) a scope itself. Real
// boundaries have none.
type Reason string

// The reasons of synthetic boundaries.
const (
	ReasonNone       Reason = ""
	ReasonUnwound    Reason = "unwound"     // something below it on the stack was closed
	ReasonAbandoned  Reason = "abandoned"   // its pair, which is not reentrant, was entered again
	ReasonThreadExit Reason = "thread_exit" // its thread ended
	// ReasonFailed: as ReasonAbandoned, of a pair whose exit only an error skips.
	ReasonFailed      Reason = "failed"
	ReasonProcessExit Reason = "process_exit" // its process ended
	ReasonExec        Reason = "exec"         // its process ran another program
	ReasonSessionEnd  Reason = "session_end"  // tracing ended before it did
	ReasonLost        Reason = "records_lost" // its own record was lost
	// ReasonKeyReused: its key was used again while it was open, so nobody can say
	// which of the two an exit means.
	ReasonKeyReused Reason = "key_reused"
	// ReasonProbesRemoved: the file of its markers was about to be written to, so
	// its probes were removed.
	ReasonProbesRemoved Reason = "probes_removed"
)

// LostName is the name of a scope whose enter was lost.
const LostName = "(lost)"

// Process is who a traced process was when a record was made. A value that a
// record points to never changes: when a process runs another program, or its
// name or rank changes, later records point to another one. So records may be
// kept, and handed to other goroutines, without copying it. A process keeps its
// ids and StartTime for life.
type Process struct {
	PID          int // in the PID namespace phasetrace runs in; the host's where it has none there
	HostPID      int // in the initial PID namespace, 0 until a record shows it
	ContainerPID int // in the process's own PID namespace; equals PID outside containers
	Comm         string
	Exe          string
	// Title is what the program said last that it is, over its command line, such as
	// "postgres: checkpointer"; "" for nothing. It is read about once a second: it was
	// so at some time before the record.
	Title      string
	Rank       int32
	RankSource string // the variable or marker the rank comes from, "" for the default
	Parent     int    // PID of the followed parent, 0 for a target given by the user
	StartTime  uint64 // clock ticks since boot, as /proc shows it; tells reused ids apart; 0 if unknown
}

// Thread is who a thread of a traced process was when a record was made. Like a
// Process, a value that a record points to never changes.
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
	// Outcome is what an exit says of its phase by being the one, of several, that
	// ended it: "aborted"; empty where there is one only.
	Outcome string
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

// Doubt says why it is not known how long a scope took, although a marker ended
// it: another scope may be the one that the marker means.
type Doubt string

// The doubts.
const (
	DoubtNone Doubt = ""
	// DoubtKeyReused: the key was used again while it was open.
	DoubtKeyReused Doubt = "key_reused"
	// DoubtOverlapping: the arguments of the exit are those of another scope of the
	// thread. Its phases overlap instead of nesting.
	DoubtOverlapping Doubt = "overlapping"
)

// Boundary is an accepted enter or exit with everything known about it. It, its
// Attributes, ExitAttributes, GPU and ProcessGPU are valid until the sink's method
// returns; the threads, the marker and the path that it points to never change.
type Boundary struct {
	recorder.Boundary
	Time      int64 // ns, CLOCK_MONOTONIC
	Unix      int64 // ns, Unix time
	Duration  int64 // exits: ns since the enter
	Self      int64 // exits: ns of Duration that were not in phases that the thread entered later, whatever their lane; keyed ones are none
	Thread    *Thread
	Marker    *Marker // nil on boundaries that no marker made
	Synthetic Reason
	// Doubt: Duration and Self are those from the enter to the exit that was taken
	// for its own, and no figure has them; changes of memory and counters are left
	// out.
	Doubt Doubt
	// ExitAttributes are what the marker of an exit tells, a JSON object; nil for
	// nothing. Attributes are those of the enter.
	ExitAttributes []byte
	// ExitThread is set when a keyed scope ends on another thread than it began.
	ExitThread  *Thread
	Counters    Counters // exits
	HasCounters bool
	Resident    Resident
	GPU         []gpu.Reading
	// ProcessGPU is parallel to GPU; nil when process lists are not read.
	ProcessGPU []gpu.ProcessReading
	// Key is what matched a keyed pair, if Keyed.
	Key   Key
	Keyed bool
}

// Words of Outcome for ends that no exit told.
const (
	OutcomeFailed = "failed"
	OutcomeDied   = "ended with the process"
)

// Outcome says how an exit's phase ended, where there are several ways or an error
// ended it; else it is empty.
func (b *Boundary) Outcome() string {
	switch {
	case b.Synthetic == ReasonFailed:
		return OutcomeFailed
	case b.Synthetic == ReasonProcessExit:
		return OutcomeDied
	case b.Synthetic == ReasonNone && b.Marker != nil:
		return b.Marker.Outcome
	}
	return ""
}

// MaxKeyValues is how many arguments a key may have.
const MaxKeyValues = 4

// Key is what matches the exit of a keyed pair with its enter: the values of N
// arguments, as the enter had them. The zero Key is that of other pairs.
type Key struct {
	Values [MaxKeyValues]uint64
	N      uint8
}

// KeyOf returns the key of some values, at most MaxKeyValues.
func KeyOf(values ...uint64) Key {
	k := Key{N: uint8(len(values))}
	copy(k.Values[:], values)
	return k
}

// String returns the values in decimal, joined by +.
func (k Key) String() string { return string(k.Append(nil)) }

// Append appends the same to a buffer.
func (k *Key) Append(b []byte) []byte {
	for i, v := range k.Values[:k.N] {
		if i > 0 {
			b = append(b, '+')
		}
		b = strconv.AppendUint(b, v, 10)
	}
	return b
}

// Violation is a break of strict nesting by the traced program. Each defect is
// reported once and then counted; see Summary.Violations.
type Violation struct {
	Time, Unix int64
	Thread     *Thread
	Marker     *Marker // the exit that broke it
	Err        *recorder.ProtocolError
	// ClosingStart and TopStart are when the two scopes of Err began, ns
	// CLOCK_MONOTONIC; 0 when there is no such scope.
	ClosingStart, TopStart int64
	Repaired               Repair // what was done about the stack
}

// Repair is what was done about the stack after a violation.
type Repair string

// The repairs.
const (
	RepairNone    Repair = ""        // not known
	RepairNothing Repair = "nothing" // there was nothing to do
	// RepairUnwound: the scopes open inside it were closed, then the scope
	// itself.
	RepairUnwound Repair = "unwound"
	// RepairAtOwner: the scope was closed on the thread that had opened it, or will
	// be once what is open inside it there has ended.
	RepairAtOwner Repair = "at_owner"
	// RepairRefused: the exit was refused and the stack left as it is, as the
	// session's policy asks.
	RepairRefused Repair = "refused"
)

// Orphan is an exit for which no scope is open, and which is not a violation.
type Orphan struct {
	Time, Unix int64
	Thread     *Thread
	Marker     *Marker
	Reason     OrphanReason
}

// OrphanReason says why no scope is open for an exit.
type OrphanReason string

// The reasons of orphans.
const (
	OrphanBeforeAttach OrphanReason = "before_attach" // entered before the site was attached
	OrphanUntraced     OrphanReason = "untraced"      // entered while nobody traced
	OrphanInherited    OrphanReason = "inherited"     // entered by the parent process, before the fork
	OrphanLost         OrphanReason = "records_lost"  // the record of the enter may be lost
	// OrphanRepaired: phasetrace had closed the scope itself, and reported it
	// then.
	OrphanRepaired OrphanReason = "repaired"
	// OrphanKeyReused: the key was used again while it was open, or has ended
	// already.
	OrphanKeyReused OrphanReason = "key_reused"
	// OrphanEnterNotAttached: the enters of the pair could not be attached.
	OrphanEnterNotAttached OrphanReason = "enter_not_attached"
	// OrphanUnknown: counted where reasons are not kept.
	OrphanUnknown OrphanReason = "unknown"
)

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

// ProcessChange is a process that joined or left the session, or has another title.
type ProcessChange struct {
	Time, Unix int64
	Process    *Process
	Started    bool
	Exec       bool   // Started: by running another program
	Titled     bool   // it neither joined nor left: its Title has changed
	Before     string // Titled: what the title was before, "" for none
	ExitCode   int    // ended: as wait(2) gives it, valid if HasExit
	HasExit    bool
	Removed    bool // ended: it still runs, but is no longer traced
	// In are phases that were open when the process ended: the paths of the innermost
	// ones, at most MaxEndedIn. It never changes.
	In []string
}

// MaxEndedIn bounds ProcessChange.In.
const MaxEndedIn = 8

// PairChange is a pair that is traced for another part of the time from now on, so that
// tracing costs no program more than a budget. All pairs are traced all the time at
// first.
type PairChange struct {
	Time, Unix      int64
	Name            string // of its phases, "" where the marker names them
	Provider, Enter string
	Part            float64 // of the time that it is traced: 1, less, 0
	Share           float64 // what tracing cost the most loaded program, of its own CPU time
	Budget          float64 // what it may be
	ForGood         bool    // it had to go too often, and does not come back
	Trial           bool    // nobody knows what it costs now: that is to be found out
}
