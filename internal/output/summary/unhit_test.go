// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// Sites that were never hit are told of where that says something: a reason is known,
// nothing at all was hit, or somebody asks.
func TestUnhit(t *testing.T) {
	site := func(probe, remedy string) stream.ZeroSite {
		return stream.ZeroSite{Marker: stream.Marker{Provider: "p", Probe: probe, Path: "/x", Offset: 1}, Remedy: remedy}
	}
	for name, test := range map[string]struct {
		received uint64
		sites    []stream.ZeroSite
		asked    bool
		want     string
	}{
		"healthy":     {9, []stream.ZeroSite{site("a", "")}, false, ""},
		"asked":       {9, []stream.ZeroSite{site("a", "")}, true, "\n1 attached site never hit\n  p:a at /x+0x1\n"},
		"none at all": {0, []stream.ZeroSite{site("a", ""), site("b", "")}, false, "\n2 attached sites never hit (ask)\n"},
		"reasons": {9, []stream.ZeroSite{site("a", "one"), site("b", ""), site("c", "one"), site("d", "two")}, false,
			"\n4 attached sites never hit (ask)\n  p:a and 1 like it: one\n  p:d: two\n"},
	} {
		got := string(Append(nil, &stream.Summary{Received: test.received, ZeroSites: test.sites}, Options{Unhit: test.asked, UnhitAdvice: "ask"}))
		_, tail, _ := strings.Cut(got, "no phase was seen\n")
		if tail != test.want {
			t.Errorf("%s: %q, want %q", name, tail, test.want)
		}
	}
}
