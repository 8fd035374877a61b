// SPDX-License-Identifier: Apache-2.0

package probe

import "fmt"

// Limits of a site.
const (
	// MaxLanes is the number of independent stacks that one thread can have.
	MaxLanes = 8
	// MaxCaptures is the number of values that one site can capture: a USDT note
	// has at most 12 arguments.
	MaxCaptures = 12
	// MaxString is the longest string, in bytes, that one capture can ask for.
	MaxString = 1024
)

// NoLane marks sites that take no part in a thread's depth: those of keyed
// pairs, and points.
const NoLane = 0xff

// Kind says what a site is in its program.
type Kind uint8

// The kinds of site. The zero Kind is a marker.
const (
	Marker Kind = iota // a USDT marker
)

// Effect says what a hit of a site does to the phases of its thread.
type Effect uint8

// The effects.
const (
	Enter Effect = 1 + iota // opens one
	Exit                    // closes one
	Point                   // neither: it says something about the open ones
)

// String returns a lower-case word for the effect.
func (e Effect) String() string {
	switch e {
	case Enter:
		return "enter"
	case Exit:
		return "exit"
	case Point:
		return "point"
	}
	return fmt.Sprintf("Effect(%d)", uint8(e))
}

// CaptureType says how to read a captured argument.
type CaptureType uint8

// The types of a capture.
const (
	CaptureInt   = CaptureType(iota + 1) // the value itself
	CaptureStr                           // a pointer to a C string
	CaptureBytes                         // a pointer, and a length in another argument
)

// Capture is one value to fetch when a site is hit.
type Capture struct {
	Operand Operand
	Type    CaptureType
	Len     Operand // CaptureBytes: the argument that holds the length in bytes
	Max     int     // strings: bytes to keep, 1 to MaxString
}

// Site is one place to attach to, and what to record there.
type Site struct {
	ID       uint32 // dense from 0, assigned by the owner of the table of sites
	Kind     Kind
	Effect   Effect
	Arch     Arch
	Location uint64 // address in the file of the instruction that is probed, for symbol operands
	Offset   uint64 // its file offset
	RefCtr   uint64 // file offset of the semaphore, 0 for none
	Lane     uint8  // 0 to MaxLanes-1, or NoLane
	Captures []Capture
	// Constant is memory of the site's file in which strings need not be copied at a
	// hit; nil for none.
	Constant *Constant
}

// Constant is memory that nobody can write, mapped from a file that keeps what is
// in it: an address stands for the string that is there.
type Constant struct {
	// Start and End are whole pages, as the addresses are before the load bias.
	Start, End uint64
	// Read reads from the file what is at an address, as io.ReaderAt does. It fails
	// where the file may not be what it was.
	Read func(b []byte, addr uint64) (int, error)
}
