// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// statements is the grouping by statement.
const statements = "sql"

// outermost returns the paths that have statements and are inside no other one that
// has, and how many are inside. What a statement takes as a whole is in those.
func outermost(paths []*stream.PathStats) (out []*stream.PathStats, inside int) {
	named := make(map[*recorder.Path]bool)
	for _, st := range paths {
		named[st.Path] = true
	}
	for _, st := range paths {
		around := st.Path.Parent()
		for around != nil && !named[around] {
			around = around.Parent()
		}
		if around != nil {
			inside++
		} else {
			out = append(out, st)
		}
	}
	return out, inside
}

// hasNamed reports whether any scope of a path has what groups go by.
func hasNamed(st *stream.PathStats) bool {
	return slices.ContainsFunc(st.Groups, func(g stream.GroupStats) bool { return g.Kind != stream.GroupNone })
}

// statementWidth is the largest width of the column that has statements.
const statementWidth = 100
