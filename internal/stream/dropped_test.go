// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"
)

func TestCounts(t *testing.T) {
	all := records(100)
	var c stream.Counts
	for _, r := range all {
		c.Add(r)
	}
	kinds := []uint64{c.Boundaries, c.Violations, c.Orphans, c.Losses, c.ProcessChanges, c.Samples}
	if slices.Contains(kinds, 0) || c.Total() != 100 {
		t.Errorf("%+v, %d in all", c, c.Total())
	}
}
