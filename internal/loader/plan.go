// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/bpf"
)

// compile turns a site into the spec from which instructions are generated.
func compile(s probe.Site) (siteSpec, error) {
	spec := siteSpec{effect: s.Effect, lane: s.Lane, n: uint8(len(s.Captures))}
	if s.Effect < probe.Enter || s.Effect > probe.Point {
		return spec, fmt.Errorf("plan site %d: it has no effect that records can tell: %v", s.ID, s.Effect)
	}
	if s.ID >= MaxSites {
		return spec, fmt.Errorf("plan site %d: at most %d sites: trace fewer pairs", s.ID, MaxSites)
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
	if s.Constant != nil && sh.strings != 0 {
		sh.texts = newTexts(s)
	}
	return sh
}

// Sizes, in bits, of the parts of a cookie: bpf/event.h.
const (
	cookieSite  = uint(bpf.PhasetraceCookieBitsCOOKIE_SITE)
	cookieSpec  = uint(bpf.PhasetraceCookieBitsCOOKIE_SPEC)
	cookieNear  = uint(bpf.PhasetraceCookieBitsCOOKIE_NEAR)
	cookiePages = uint(bpf.PhasetraceCookieBitsCOOKIE_PAGES)

	// MaxSites is how many sites a tracer can tell apart.
	MaxSites = 1 << cookieSite
)

// markerCookie tells a marker program the site's id, the number of its spec, and where
// its constant memory is.
func markerCookie(b boundSite) uint64 {
	c := uint64(b.number)<<cookieSite | uint64(b.ID)
	near, pages := constantPages(b.Site)
	if pages == 0 {
		return c
	}
	return c | near<<(64-cookieNear)>>cookiePages | pages<<(64-cookiePages)
}

// constantPages returns how many pages behind that of a site its constant memory
// begins, modulo 2^64, and how many there are; none where strings are not captured
// by address, or if they cannot be told to the program.
func constantPages(s probe.Site) (near, pages uint64) {
	strings := slices.ContainsFunc(s.Captures, func(c probe.Capture) bool { return c.Type == probe.CaptureStr })
	if s.Constant == nil || !strings {
		return 0, 0
	}
	const page = 12
	near = s.Constant.Start>>page - s.Location>>page
	pages = (s.Constant.End - s.Constant.Start) >> page
	if int64(near)<<(64-cookieNear)>>(64-cookieNear) != int64(near) || pages>>cookiePages != 0 {
		return 0, 0
	}
	return near, pages
}
