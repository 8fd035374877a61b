// SPDX-License-Identifier: Apache-2.0

package loader

import "github.com/phasetrace/phasetrace/bpf"

// Kind says what an Event tells.
type Kind uint8

// The kinds of event, in the order of their record types in bpf/event.h.
const (
	KindMarker      = Kind(bpf.PhasetraceRecordTypeRECORD_MARKER)       // a site was hit
	KindThread      = Kind(bpf.PhasetraceRecordTypeRECORD_THREAD)       // who a thread is; precedes its first marker
	KindThreadExit  = Kind(bpf.PhasetraceRecordTypeRECORD_THREAD_EXIT)  // a traced thread ended
	KindProcessExit = Kind(bpf.PhasetraceRecordTypeRECORD_PROCESS_EXIT) // the last thread of a process ended
	KindExec        = Kind(bpf.PhasetraceRecordTypeRECORD_EXEC)         // a traced process runs another program
	KindFork        = Kind(bpf.PhasetraceRecordTypeRECORD_FORK)         // a followed process made a child
	KindLibrary     = Kind(bpf.PhasetraceRecordTypeRECORD_LIBRARY)      // the dynamic linker changed its list
)

// Role is a site's side of its pair.
type Role uint8

// The two roles of a site.
const (
	Enter = Role(bpf.PhasetraceSiteRoleROLE_ENTER)
	Exit  = Role(bpf.PhasetraceSiteRoleROLE_EXIT)
)

// MaxLanes is the number of independent stacks that one thread can have.
const MaxLanes = 8

// NoLane marks the sites of keyed pairs: they take no part in a thread's depth.
const NoLane = 0xff

// MaxCaptures is the number of values that one site can capture.
const MaxCaptures = 12

// MaxString is the longest string, in bytes, that one capture can ask for.
const MaxString = 1024

// ThreadKey tells threads apart for good, also when the kernel reuses an id.
type ThreadKey struct {
	TID       uint32 // of the initial PID namespace
	StartTime uint64 // ns since boot
}

// Event is one decoded record. It is reused: it and the bytes it points to are
// valid until the handler returns.
type Event struct {
	Kind Kind
	Role Role
	Lane uint8
	// Values holds what the site captured, in the order of its plan.
	NumValues uint8
	Site      uint32 // the plan's Site.ID; of forks the parent's PID in our namespace, 0 if none
	Time      int64  // ns, CLOCK_MONOTONIC
	// Seq is the number of this marker on its thread, from 0, lost ones
	// counted. Of an exit or exec event: how many markers the thread produced.
	Seq uint64
	PID uint32 // host ids: of the initial PID namespace
	TID uint32
	// Depth is enters minus exits of the lane as the kernel counted them, this
	// marker included; Low is the lowest Depth from the last marker of this lane
	// that was delivered (its Depth counts) to just before this one. Of an exec
	// event they are the Aux of the thread's markers after it and before it, and
	// of an exit event Depth is the Aux of its markers.
	Depth, Low int32
	// The thread's counters, low 32 bits: differences are exact modulo 2^32.
	VoluntarySwitches   uint32
	InvoluntarySwitches uint32
	MinorFaults         uint32
	MajorFaults         uint32
	RSSPages            uint32 // of the process, approximate from Linux 6.2 on
	// Aux of markers tells the programs apart that the thread has run, 0 for the
	// first; it is the exit code of exits, the host PID of the child of forks,
	// and the former thread id of execs.
	Aux    uint32
	Values [MaxCaptures]Value
	Who    Identity // all kinds but markers
}

// Identity is who a thread is.
type Identity struct {
	StartTime uint64 // ns since boot
	Comm      []byte // thread name, without the closing NULs
	ViewPID   int    // ids in the PID namespace phasetrace runs in; 0 if it has none there
	ViewTID   int
	InnerPID  int // ids in the thread's own PID namespace
	InnerTID  int
}

// Value is one captured argument: an integer, or a string.
type Value struct {
	Int         uint64 // integers: sign- or zero-extended as the note says
	Str         []byte // strings: what was read of it
	Truncated   bool   // the string was longer
	Unreadable  bool   // its memory could not be read: an Int of 0 means nothing then
	NullPointer bool
}

// FormerStart is, of an exec event, when the thread that ran it had started, as
// it was told of last; 0 if it never was. The kernel then hands it the first
// thread's.
func (e *Event) FormerStart() uint64 {
	return uint64(e.InvoluntarySwitches)<<32 | uint64(e.VoluntarySwitches)
}

// SetFormerStart sets what FormerStart returns.
func (e *Event) SetFormerStart(start uint64) {
	e.VoluntarySwitches, e.InvoluntarySwitches = uint32(start), uint32(start>>32)
}
