// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A phase of which some durations are not counted has a star, which says why.
func TestUncountedDurations(t *testing.T) {
	_, b, err := recorder.New(recorder.Limits{}).Enter(recorder.Key{SessionID: "s"}, "", "encode", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		stats stream.PathStats
		row   string
		note  string
	}{
		{stream.PathStats{Count: 3, Total: 30}, "encode 3 30 ns", ""},
		{stream.PathStats{Count: 3, Unknown: 3}, "encode 3* ?", "took a time that is not known; their durations are not counted"},
		{stream.PathStats{Count: 3, Unknown: 1, Synthetic: 1, Total: 30}, "encode 3* 30 ns",
			"were closed by phasetrace, are still open, or took a time that is not known; their durations"},
		{stream.PathStats{Count: 3, Synthetic: 1, Total: 30}, "encode 3* 30 ns", "were closed by phasetrace or are still open; their durations"},
	} {
		test.stats.Path = b.Path
		got := string(Append(nil, &stream.Summary{Paths: []stream.PathStats{test.stats}}, Options{}))
		squeezed := strings.Join(strings.Fields(got), " ")
		if !strings.Contains(squeezed, strings.Join(strings.Fields(test.row), " ")) ||
			!strings.Contains(squeezed, test.note) || strings.Contains(got, "  * ") != (test.note != "") {
			t.Errorf("%+v: no %q with %q in\n%s", test.stats, test.row, test.note, got)
		}
	}
}
