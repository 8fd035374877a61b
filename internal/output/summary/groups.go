// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// maxGroups is how many groups of a phase the table shows.
const maxGroups = 20

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
	switch {
	case len(p.s.Paths) == 0: // that no phase was seen has been said
		return
	case len(paths) == 0:
		p.printf("\nno phase tells %s\n", text(p.s.Grouped.By))
		return
	}
	inside := 0
	if p.s.Grouped.By == statements {
		paths, inside = outermost(paths)
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
		row, m := groupRow(p.pathLabel(st.Path), st)
		rows = append(rows, row)
		all.unfinished, all.unknown = all.unfinished || m.unfinished, all.unknown || m.unknown
		for i := range st.Groups[:min(len(st.Groups), maxGroups)] {
			row, _ := groupRow("  "+groupName(&st.Groups[i]), &st.Groups[i].Figures)
			rows = append(rows, row)
		}
		if left := len(st.Groups) - maxGroups; left > 0 {
			rows = append(rows, restRow(left, st.Groups[maxGroups:]))
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
	p.ungrouped()
}

// ungrouped says what the groups could not keep apart.
func (p *printer) ungrouped() {
	if n := p.s.Grouped.Other; n > 0 {
		p.printf("  %s in %s: only the first %s values of %s are kept apart; one that came later may have taken more time than those shown\n",
			human.Plural(n, "phase"), recorder.OtherName, human.Count(uint64(p.s.Grouped.Groups)), text(p.s.Grouped.By))
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
	if g.Name == "" {
		return `""`
	}
	return g.Name
}

// restRow makes the cells of the groups that are not shown. Their quantiles are not
// known together.
func restRow(n int, groups []stream.GroupStats) []string {
	var sum stream.PathStats
	for i := range groups {
		g := &groups[i].Figures
		sum.Count, sum.Synthetic, sum.Unknown = sum.Count+g.Count, sum.Synthetic+g.Synthetic, sum.Unknown+g.Unknown
		sum.Total, sum.Self, sum.Max = sum.Total+g.Total, sum.Self+g.Self, max(sum.Max, g.Max)
	}
	row, _ := groupRow("  "+human.Ellipsis+" and "+human.Count(uint64(n))+" more", &sum)
	row[5], row[6] = human.Unknown, human.Unknown
	return row
}

// pathLabel is a path for the first column. Where it has little room, the outer
// names give way: the last ones tell paths apart.
func (p *printer) pathLabel(path *recorder.Path) string {
	width := p.o.NameWidth
	if p.o.Width > 0 && p.o.Width < 100 {
		width = min(width, minNames)
	}
	label := path.String()
	for outer := path.Parts()[1:]; len(outer) > 0 && human.Columns([]byte(label)) > width; outer = outer[1:] {
		label = human.Ellipsis + recorder.Separator + strings.Join(outer, recorder.Separator)
	}
	return label
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
