// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/phasetrace/phasetrace/bpf"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// CaptureType says what to make of a captured argument.
type CaptureType uint8

// The types of a capture.
const (
	CaptureInt   = CaptureType(bpf.PhasetraceCaptureTypeCAPTURE_INT)   // the value itself
	CaptureStr   = CaptureType(bpf.PhasetraceCaptureTypeCAPTURE_STR)   // a pointer to a C string
	CaptureBytes = CaptureType(bpf.PhasetraceCaptureTypeCAPTURE_BYTES) // a pointer, and a length in another argument
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

// compile turns a site into what the BPF programs read.
func (s Site) compile() (bpf.PhasetraceSiteSpec, error) {
	spec := bpf.PhasetraceSiteSpec{Role: uint8(s.Role), Lane: s.Lane, Ncaptures: uint8(len(s.Captures))}
	if len(s.Captures) > MaxCaptures {
		return spec, fmt.Errorf("plan site %d: %d values to capture, at most %d", s.ID, len(s.Captures), MaxCaptures)
	}
	if s.Lane >= MaxLanes && s.Lane != NoLane {
		return spec, fmt.Errorf("plan site %d: lane %d, at most %d lanes", s.ID, s.Lane, MaxLanes)
	}
	for i, c := range s.Captures {
		out := &spec.Captures[i]
		var err error
		if out.Arg, err = compileArg(s.Arch, c.Arg, s.Location); err != nil {
			return spec, fmt.Errorf("plan site %d: %w", s.ID, err)
		}
		out.Type, out.Max = uint8(c.Type), uint16(min(max(c.Max, 1), MaxString))
		if c.Type == CaptureInt {
			out.Max = 0
		}
		if c.Type != CaptureBytes {
			continue
		}
		if out.Len, err = compileArg(s.Arch, c.Len, s.Location); err != nil {
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

// specTable gives every distinct spec a number; sites that read the same
// arguments the same way share one.
type specTable struct {
	index map[bpf.PhasetraceSiteSpec]uint32
	specs []bpf.PhasetraceSiteSpec
}

func (t *specTable) add(spec bpf.PhasetraceSiteSpec) (n uint32, fresh bool) {
	if n, ok := t.index[spec]; ok {
		return n, false
	}
	if t.index == nil {
		t.index = make(map[bpf.PhasetraceSiteSpec]uint32)
	}
	n = uint32(len(t.specs))
	t.index[spec] = n
	t.specs = append(t.specs, spec)
	return n, true
}

// cookie is what the kernel hands to the BPF program at a site: its id, and
// the number of its spec.
func cookie(site, spec uint32) uint64 { return uint64(spec)<<32 | uint64(site) }
