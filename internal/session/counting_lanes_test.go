// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/engine"
)

// Self times that contain other lanes are marked; with one lane there is nothing to
// mark.
func TestLaneNotes(t *testing.T) {
	of := func(lanes ...string) (out []*pair) {
		for _, lane := range lanes {
			out = append(out, &pair{Pair: &engine.Pair{LaneName: lane}})
		}
		return out
	}
	for _, tt := range []struct {
		pairs []*pair
		names string
	}{
		{of(), ""}, {of("", ""), ""}, {of("tx", "tx"), ""},
		{of("", "tx", "sort", "tx"), "(tx, sort)"}, {of("a", "b"), "(a, b)"},
	} {
		notes := laneNotes(tt.pairs)
		if (len(notes) > 0) != (tt.names != "") || tt.names != "" && !strings.Contains(notes[0].What, tt.names) {
			t.Errorf("%d pairs: %v, want %q", len(tt.pairs), notes, tt.names)
		}
	}
}
