// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"cmp"
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// maxGroups is how many groups of a phase the table shows.
const maxGroups = 20

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

// groups appends the figures by group: under each phase its groups, those with the
// largest totals first.
func (p *printer) groups() {
	if p.s.Grouped.By == "" {
		return
	}
	var paths []*stream.PathStats
	for i := range p.s.Paths {
		if hasNamed(&p.s.Paths[i]) {
			paths = append(paths, &p.s.Paths[i])
		}
	}
	inside := 0
	if p.s.Grouped.By == statements {
		paths, inside = outermost(paths)
	}
	if len(paths) == 0 {
		return
	}
	slices.SortStableFunc(paths, func(a, b *stream.PathStats) int { return cmp.Compare(b.Total, a.Total) })
	var rows [][]string
	var all marks
	shown := 0
	for _, st := range paths {
		if len(rows) >= p.o.MaxPhases {
			break
		}
		shown++
		row, m := groupRow(st.Path.String(), st)
		rows = append(rows, row)
		all.unfinished, all.unknown = all.unfinished || m.unfinished, all.unknown || m.unknown
		for i := range st.Groups[:min(len(st.Groups), maxGroups)] {
			row, _ := groupRow("  "+groupName(&st.Groups[i]), &st.Groups[i].Figures)
			rows = append(rows, row)
		}
		if left := len(st.Groups) - maxGroups; left > 0 {
			rows = append(rows, []string{"  " + human.Ellipsis + " and " + human.Count(uint64(left)) + " more", "", "", "", "", "", "", ""})
		}
	}
	p.printf("\n")
	if narrow := p.o.NameWidth; p.s.Grouped.By == statements {
		p.o.NameWidth = max(narrow, statementWidth)
		defer func() { p.o.NameWidth = narrow }()
	}
	p.table([]string{"by " + text(p.s.Grouped.By), "count", "total", "mean", "self", "p50", "p99", "max"}, rows)
	p.more(len(paths)-shown, " phases with smaller totals")
	if inside > 0 {
		p.printf("  and by statement in the JSON lines: %s inside these\n", human.Plural(uint64(inside), "phase"))
	}
	p.unfinished(all)
	if n := p.s.Grouped.Other; n > 0 {
		p.printf("  %s in %s: there were more different values of %s than are kept apart (%s)\n",
			human.Plural(n, "phase"), recorder.OtherName, text(p.s.Grouped.By), human.Count(uint64(p.s.Grouped.Groups)))
	}
	if n := p.s.Grouped.Cut; n > 0 {
		p.printf("  %s in groups whose names were cut, which may join different ones\n", human.Plural(n, "phase"))
	}
}

// groupName is what a group is called in the table.
func groupName(g *stream.GroupStats) string {
	switch g.Kind {
	case stream.GroupNone:
		return "(none)"
	case stream.GroupOther:
		return recorder.OtherName
	}
	return g.Name
}

// groupRow makes the cells of one line.
func groupRow(name string, st *stream.PathStats) ([]string, marks) {
	known := st.Timed() > 0
	count, m := countOf(st)
	var mean time.Duration
	if known {
		mean = st.Total / time.Duration(st.Timed())
	}
	return []string{name, count, duration(st.Total, known), duration(mean, known), duration(st.Self, known),
		duration(st.P50, known), duration(st.P99, known), duration(st.Max, known)}, m
}
