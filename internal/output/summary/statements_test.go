// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Statements have one table: the phases that they are as a whole. What is inside
// those, and phases without any, are not in it; what could not be kept apart is.
func TestStatements(t *testing.T) {
	path := pathMaker(t)
	figures := func(p *recorder.Path, n uint64, groups ...stream.GroupStats) stream.PathStats {
		return stream.PathStats{Path: p, Count: n, Total: time.Duration(n) * time.Millisecond, Self: time.Millisecond, Groups: groups}
	}
	group := func(kind stream.GroupKind, name string, n uint64) stream.GroupStats {
		return stream.GroupStats{Kind: kind, Name: name, Figures: figures(nil, n)}
	}
	query := path("query")
	statement := "select a_rather_long_name_of_a_column from a_table where it = ? and another_column < ?"
	s := &stream.Summary{Grouped: stream.Grouped{By: "sql", Groups: 1, Other: 4}, Paths: []stream.PathStats{
		figures(query, 11, group(stream.GroupNamed, statement, 7), group(stream.GroupOther, "", 4)),
		figures(path("query", "plan"), 7, group(stream.GroupNamed, statement, 7)),
		figures(path("checkpoint"), 2, group(stream.GroupNone, "", 2)),
	}}
	s.Paths[0].Outcomes = []stream.OutcomeCount{{Outcome: "failed", Count: 3}}
	text := string(Append(nil, s, Options{}))
	_, table, _ := strings.Cut(text, "\nby sql")
	for _, want := range []string{statement, "(other)", "1 phase inside these", "4 phases in (other)"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not have %q:\n%s", want, table)
		}
	}
	if strings.Contains(table, "plan") || strings.Contains(table, "checkpoint") || strings.Count(table, statement) != 1 {
		t.Errorf("the table has what is inside statements, or has none:\n%s", table)
	}
	if want := "\nhow they ended\n  query: 3 failed\n"; !strings.Contains(text, want) {
		t.Errorf("the summary does not have %q:\n%s", want, text)
	}
}
