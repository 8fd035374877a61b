// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// CaptureType says what to make of a captured argument.
type CaptureType uint8

// The types of a capture.
const (
	CaptureInt   = CaptureType(iota + 1) // the value itself
	CaptureStr                           // a pointer to a C string
	CaptureBytes                         // a pointer, and a length in another argument
)

// Capture is one value to fetch when a site is hit.
type Capture struct {
	Arg  usdt.Arg
	Type CaptureType
	Len  usdt.Arg // CaptureBytes: the argument that holds the length in bytes
	Max  int      // strings: bytes to keep, 1 to MaxString
}

// Site is one place to attach to, and what to record there.
type Site struct {
	ID       uint32 // the caller's number, dense from 0; Event.Site returns it
	Arch     usdt.Arch
	Location uint64 // address in the file, for symbol operands
	Offset   uint64 // file offset of the instruction
	RefCtr   uint64 // file offset of the semaphore, 0 for none
	Role     Role
	Lane     uint8 // 0 to MaxLanes-1, or NoLane
	Captures []Capture
}

// compile turns a site into what instructions are generated from.
func (s Site) compile() (siteSpec, error) {
	spec := siteSpec{role: s.Role, lane: s.Lane, n: uint8(len(s.Captures))}
	if s.ID >= 1<<siteBits {
		return spec, fmt.Errorf("plan site %d: at most %d sites in one session", s.ID, 1<<siteBits)
	}
	if len(s.Captures) > MaxCaptures {
		return spec, fmt.Errorf("plan site %d: %d values to capture, at most %d", s.ID, len(s.Captures), MaxCaptures)
	}
	if s.Lane >= MaxLanes && s.Lane != NoLane {
		return spec, fmt.Errorf("plan site %d: lane %d, at most %d lanes", s.ID, s.Lane, MaxLanes)
	}
	for i, c := range s.Captures {
		out := &spec.captures[i]
		var err error
		if out.arg, err = compileArg(s.Arch, c.Arg, s.Location); err != nil {
			return spec, fmt.Errorf("plan site %d: %w", s.ID, err)
		}
		out.typ = c.Type
		if c.Type != CaptureInt {
			out.max = uint16(min(max(c.Max, 1), MaxString))
		}
		if c.Type != CaptureBytes {
			continue
		}
		if out.len, err = compileArg(s.Arch, c.Len, s.Location); err != nil {
			return spec, fmt.Errorf("plan site %d: length: %w", s.ID, err)
		}
	}
	return spec, nil
}

func (s Site) shape() shape {
	sh := shape{known: true, n: uint8(len(s.Captures))}
	for i, c := range s.Captures {
		if c.Type != CaptureInt {
			sh.strings |= 1 << i
		}
	}
	return sh
}

// cookie is what the kernel hands to the BPF program at a site: its id, and
// the number of its spec in the program.
func cookie(site, spec uint32) uint64 { return uint64(spec)<<32 | uint64(site) }
