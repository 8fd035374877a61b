// SPDX-License-Identifier: Apache-2.0

package event

import "github.com/phasetrace/phasetrace/internal/probe"

// Event is a *Marker, *Thread, *ThreadExit, *ProcessExit, *Exec, *Fork or
// *Library. Its source may reuse it: unless said otherwise, it and the bytes it
// points to are valid until the handler returns.
type Event interface {
	// Common returns what every event has.
	Common() *Head
}

// Head is what every event has.
type Head struct {
	Time int64  // ns, CLOCK_MONOTONIC
	PID  uint32 // host ids: of the initial PID namespace
	TID  uint32
}

// Common returns the head itself.
func (h *Head) Common() *Head { return h }

// Marker is a hit of a site.
type Marker struct {
	Head
	Site   uint32       // probe.Site.ID
	Effect probe.Effect // of the site
	Lane   uint8        // of the site, or probe.NoLane
	// Program tells the programs apart that the thread has run, 0 for the first.
	Program uint32
	// Seq is the number of this marker on its thread, from 0, lost ones counted.
	Seq uint64
	// Depth is enters minus exits of the lane as the kernel counted them, this
	// marker included. Low is the lowest Depth from the last marker of this lane
	// that was delivered (its Depth counts) to just before this one. Points, and
	// markers without a lane, take no part: both are 0.
	Depth, Low int32
	// The thread's counters, low 32 bits: differences are exact modulo 2^32.
	VoluntarySwitches   uint32
	InvoluntarySwitches uint32
	MinorFaults         uint32
	MajorFaults         uint32
	ResidentPages       uint32 // of the process, approximate from Linux 6.2 on; 0: unknown
	// Values holds what the site captured, in the order of its plan; the first
	// NumValues of it are valid.
	NumValues uint8
	Values    [probe.MaxCaptures]Value
}

// Value is one captured argument: an integer, or a string.
type Value struct {
	Int         uint64 // integers: sign- or zero-extended as the note says
	Str         []byte // strings: what was read of it
	Truncated   bool   // the string was longer
	Unreadable  bool   // its memory could not be read; Int is then 0 and means nothing
	NullPointer bool
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

// Thread says who a thread is: before its first marker, and after its name
// changes.
type Thread struct {
	Head
	Who Identity
	// Arguments is what stands now where the process's arguments were, and behind
	// them its environment: the start of that. It may be empty.
	Arguments []byte
	// ArgumentsSize is how many bytes of that the arguments had.
	ArgumentsSize uint32
}

// ThreadExit is the end of a traced thread.
type ThreadExit struct {
	Head
	Who     Identity
	Markers uint64 // that the thread has produced, lost ones counted
	Program uint32 // of its last markers
}

// ProcessExit is the end of a process, with that of its last thread.
type ProcessExit struct {
	ThreadExit
	Status uint32 // as wait(2) gives it
	// CPUTime is what all threads that it ever had have used, in ns, to the last tick
	// of the scheduler.
	CPUTime uint64
}

// Exec is a process that runs another program.
type Exec struct {
	Head // of the process as it goes on: TID is the process's id
	Who  Identity
	// FormerTID and FormerStart are those of the thread that ran exec: the kernel
	// gives it the first thread's. FormerStart is 0 when the thread was never
	// announced.
	FormerTID   uint32
	FormerStart uint64
	Markers     uint64 // that the thread has produced, lost ones counted
	Before      uint32 // the Program of the thread's markers before the exec
	Program     uint32 // the same after it
	File        File   // of the new program
}

// File is an executable, as the kernel numbers it. Inode numbers are used again:
// the generation and the time of the last change tell such files apart, as well as
// one that was written over.
type File struct {
	Device     uint32
	Generation uint32
	Inode      uint64
	Changed    uint64 // ns, CLOCK_REALTIME: of its last change (ctime)
	Size       uint64 // bytes
}

// Fork is a followed process that has made a child. Its head's ids are the
// parent's.
type Fork struct {
	Head
	Parent int      // the parent's PID in the namespace phasetrace runs in, 0 if it has none there
	Child  uint32   // host PID of the child
	Who    Identity // of the child; its ViewPID may be 0
}

// Library is a dynamic linker that has changed its list of libraries. What it has
// added comes first, one event for each library.
type Library struct {
	Head
	Who Identity
	// Name is what the linker calls a library that it has added: its path, which may
	// start from the working directory. Empty: this is the change itself.
	Name []byte
	// Unnamed: libraries may have been added of which no event tells.
	Unnamed bool
}

// FileStart is a process that is about to run the first code of a file that is
// watched for it. It waits, for a bounded time, if the source can make it.
type FileStart struct {
	Head
	Who Identity
}

// ThreadKey tells threads apart even when the kernel reuses an id.
type ThreadKey struct {
	TID       uint32 // of the initial PID namespace
	StartTime uint64 // ns since boot
}

// ThreadLoss is what one thread lost.
type ThreadLoss struct {
	PID   uint32 // its process, by its id in the initial PID namespace
	Count uint64 // markers
}
