// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// compile turns a site into the spec from which instructions are generated.
func compile(s probe.Site) (siteSpec, error) {
	spec := siteSpec{effect: s.Effect, lane: s.Lane, n: uint8(len(s.Captures))}
	if s.Effect < probe.Enter || s.Effect > probe.Point {
		return spec, fmt.Errorf("plan site %d: it has no effect that records can tell: %v", s.ID, s.Effect)
	}
	if len(s.Captures) > probe.MaxCaptures {
		return spec, fmt.Errorf("plan site %d: %d values to capture, at most %d", s.ID, len(s.Captures), probe.MaxCaptures)
	}
	if s.Lane >= probe.MaxLanes && s.Lane != probe.NoLane {
		return spec, fmt.Errorf("plan site %d: lane %d, at most %d lanes", s.ID, s.Lane, probe.MaxLanes)
	}
	for i, c := range s.Captures {
		out := &spec.captures[i]
		var err error
		if out.arg, err = compileArg(s.Arch, c.Operand, s.Location); err != nil {
			return spec, fmt.Errorf("plan site %d: %w", s.ID, err)
		}
		out.typ = c.Type
		if c.Type != probe.CaptureInt {
			out.max = uint16(min(max(c.Max, 1), probe.MaxString))
		}
		if c.Type != probe.CaptureBytes {
			continue
		}
		if out.len, err = compileArg(s.Arch, c.Len, s.Location); err != nil {
			return spec, fmt.Errorf("plan site %d: length: %w", s.ID, err)
		}
	}
	return spec, nil
}

func shapeOf(s probe.Site) shape {
	sh := shape{known: true, n: uint8(len(s.Captures))}
	for i, c := range s.Captures {
		if c.Type != probe.CaptureInt {
			sh.strings |= 1 << i
		}
	}
	return sh
}

// cookie is what the kernel hands to the BPF program at a site: its id, and
// the number of its spec in the program.
func cookie(site, spec uint32) uint64 { return uint64(spec)<<32 | uint64(site) }
