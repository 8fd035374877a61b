// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// constantFile is a file with so much content, at address 0x1000, and counts its reads.
func constantFile(content string, reads *int) *probe.Constant {
	return &probe.Constant{Start: 0x1000, End: 0x3000, Read: func(b []byte, addr uint64) (int, error) {
		*reads++
		at := addr - 0x1000
		if at >= uint64(len(content)) {
			return 0, io.EOF
		}
		return copy(b, content[at:]), nil
	}}
}

func textSite(c *probe.Constant) probe.Site {
	return probe.Site{Location: 0x2345, Constant: c, Captures: []probe.Capture{
		{Type: probe.CaptureInt}, {Type: probe.CaptureStr, Max: 5}, {Type: probe.CaptureStr, Max: 100},
	}}
}

// A string in constant memory is what the kernel would have copied, and is read once.
func TestTexts(t *testing.T) {
	reads := 0
	texts := newTexts(textSite(constantFile("forward\x00step\x00\x00abcde\x00abcdef", &reads)))
	for _, c := range []struct {
		capture int
		at      uint32
		want    event.Value
	}{
		{1, 0, event.Value{Str: []byte("forwa"), Truncated: true}},
		{2, 0, event.Value{Str: []byte("forward")}},
		{1, 8, event.Value{Str: []byte("step")}},
		{1, 12, event.Value{Str: []byte{}}},
		{1, 14, event.Value{Str: []byte("abcde")}},                  // exactly as long as is kept
		{1, 20, event.Value{Str: []byte("abcde"), Truncated: true}}, // and one more
		{2, 20, event.Value{Unreadable: true}},                      // it does not end in the file
		{1, 0x1fff, event.Value{Unreadable: true}},
	} {
		for range 3 {
			if d := cmp.Diff(c.want, texts.value(c.capture, c.at)); d != "" {
				t.Errorf("capture %d at %d: %s", c.capture, c.at, d)
			}
		}
	}
	if reads != 8 {
		t.Errorf("%d reads of 8 strings", reads)
	}
	if n := testing.AllocsPerRun(100, func() { texts.value(1, 8); texts.value(2, 0) }); n != 0 {
		t.Errorf("a known string allocates %v times", n)
	}
}

func TestTextsAreBounded(t *testing.T) {
	reads := 0
	texts := newTexts(textSite(constantFile(strings.Repeat("a\x00", 1<<20), &reads)))
	for i := range uint32(3 * maxTexts) {
		texts.value(1, 2*i)
	}
	if len(texts.known) > maxTexts || reads != 3*maxTexts {
		t.Errorf("%d strings kept after %d reads", len(texts.known), reads)
	}
}

// What the program computes from the cookie is where the constant pages are at the
// site, wherever the file is loaded.
func TestMarkerCookie(t *testing.T) {
	for _, c := range []struct {
		location, start, end uint64
		told                 bool
	}{
		{0x2345, 0x1000, 0x3000, true},
		{0x1fff, 0x2000, 0x3000, true},
		{0x401000, 0x402000, 0x404000, true},
		{0x40000000, 0x1000, 0x3000, true},
		{0x1000, 0x3ffff000, 0x40000000, true},
		{0x1000, 0x80000000, 0x80001000, false}, // too far
		{0x80001000, 0x0, 0x1000, false},
		{0x1000, 0x0, 0x80000000, false}, // too much
		{0x1000, 0x1000, 0x1000, false},
	} {
		site := textSite(&probe.Constant{Start: c.start, End: c.end})
		site.ID, site.Location = MaxSites-1, c.location
		cookie := markerCookie(boundSite{Site: site, binding: binding{number: specsPerProgram - 1}})
		if id, spec := cookie&(MaxSites-1), cookie>>cookieSite&(1<<cookieSpec-1); id != MaxSites-1 || spec != specsPerProgram-1 {
			t.Errorf("%+v: site %#x, spec %d", c, id, spec)
		}
		pages := cookie >> (64 - cookiePages)
		if pages != 0 != c.told {
			t.Errorf("%+v: %d pages told", c, pages)
		}
		for _, bias := range []uint64{0, 0x7f0012345000} {
			near := int64(cookie<<cookiePages) >> (64 - cookieNear)
			start := uint64(int64((c.location+bias)>>12)+near) << 12
			if c.told && (start != c.start+bias || pages<<12 != c.end-c.start) {
				t.Errorf("%+v: %d pages at %#x, loaded at %#x", c, pages, start, bias)
			}
		}
	}
	integers := textSite(&probe.Constant{Start: 0x1000, End: 0x3000})
	integers.Captures = integers.Captures[:1]
	if cookie := markerCookie(boundSite{Site: integers}); cookie != 0 {
		t.Errorf("cookie %#x of a site without strings", cookie)
	}
}
