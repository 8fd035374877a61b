// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"strings"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// maxIndent is the depth beyond which phases are not indented further.
const maxIndent = 10

// phases appends the table.
func (p *printer) phases() {
	roots, left := tree(withoutOpen(p.s), p.o.MaxPhases)
	if len(roots) == 0 {
		if len(p.s.Open) == 0 {
			p.printf("\nno phase was seen\n")
		}
		return
	}
	rss := p.hasResident()
	rows, all := p.rows(roots, rss)
	p.printf("\n")
	p.table(phaseHead(rss), rows)
	p.more(left, " phases with smaller totals")
	p.unfinished(all)
	if all.part {
		p.printf("  %s counts and totals are of a part of the time: see below\n", partMark)
	}
	if all.joined {
		p.printf("  %s some of these were seen without what surrounds them, which was entered before tracing began\n", joinedMark)
	}
}

// phaseHead names the columns of phases.
func phaseHead(rss bool) []string {
	head := []string{"phase", "count", "total", "self", "p50", "p99", "max"}
	if rss {
		head = append(head, "rss peak~")
	}
	return head
}

// rows returns a row for each phase, the outer ones first, and what marks there are.
func (p *printer) rows(roots []*node, rss bool) (rows [][]string, all marks) {
	var walk func(nodes []*node, depth int)
	walk = func(nodes []*node, depth int) {
		for _, n := range nodes {
			name := strings.Repeat("  ", min(depth, maxIndent)) + n.path.Name()
			row, marks := p.row(name, n.stats, rss)
			all.unfinished, all.unknown = all.unfinished || marks.unfinished, all.unknown || marks.unknown
			all.joined, all.part = all.joined || marks.joined, all.part || marks.part
			rows = append(rows, row)
			walk(n.inner, depth+1)
		}
	}
	walk(roots, 0)
	return rows, all
}

// unfinished explains the marks of counts.
func (p *printer) unfinished(all marks) {
	switch {
	case all.unfinished && all.unknown:
		p.printf("  * some of these were closed by phasetrace, are still open, or took a time that is not known; their durations are not counted\n")
	case all.unfinished:
		p.printf("  * some of these were closed by phasetrace or are still open; their durations are not counted\n")
	case all.unknown:
		p.printf("  * some of these took a time that is not known; their durations are not counted\n")
	}
}

// minNames is the width that the phase column keeps where there is little room.
const minNames = 16

// table appends rows, whose first column has names of any length. On a narrow
// terminal names are cut first, then columns are left out from the right, which is
// said.
func (p *printer) table(head []string, rows [][]string) {
	names := p.o.NameWidth
	t := human.Table{
		HeadTint: human.Bold, Right: true, Paint: p.colour,
		Cell: func(row, column int) string {
			if column == 0 {
				return human.Fit(rows[row][0], names)
			}
			return rows[row][column]
		},
	}
	shown := len(head)
	for ; ; shown-- {
		t.Head = head[:shown]
		t.Measure(len(rows))
		over := t.Width() - p.o.Width
		if p.o.Width <= 0 || over <= 0 || shown == 2 {
			break
		}
		if narrow := min(t.ColumnWidth(0), p.o.NameWidth) - over; narrow >= minNames {
			names = narrow
			t.Measure(len(rows))
			break
		}
	}
	p.b = t.AppendHead(p.b)
	for row := range rows {
		p.b = t.AppendRow(p.b, row)
	}
	if left := head[shown:]; len(left) > 0 {
		p.printf("  %s and, on a wider terminal: %s\n", human.Ellipsis, strings.Join(left, ", "))
	}
}

// joinedMark follows a count of phases some of which were joined.
const joinedMark = "‡"

// partMark follows a count of phases that were not traced all the time.
const partMark = "%"

// partialMark follows a sum that leaves some scopes out.
const partialMark = "†"

// marks are what the footnotes of a row explain.
type marks struct{ unfinished, unknown, joined, part bool }

// row makes the cells of one phase.
func (p *printer) row(name string, st *stream.PathStats, rss bool) ([]string, marks) {
	if st == nil {
		st = &stream.PathStats{}
	}
	known := st.Timed() > 0
	count, m := countOf(st)
	row := []string{name, count, duration(st.Total, known), duration(st.Self, known),
		duration(st.P50, known), duration(st.P99, known), duration(st.Max, known)}
	if rss {
		peak := human.Unknown
		if st.ResidentPeak > 0 {
			peak = human.Bytes(st.ResidentPeak)
		}
		row = append(row, peak)
	}
	return row, m
}

// countOf is how many scopes there were, and how that is marked.
func countOf(st *stream.PathStats) (string, marks) {
	count := human.Count(st.Count + st.Open)
	m := marks{unfinished: st.Synthetic > 0 || st.Open > 0, unknown: st.Unknown > 0}
	if m.unfinished || m.unknown {
		count += "*"
	}
	if m.joined = st.Joined > 0; m.joined {
		count += joinedMark
	}
	if m.part = st.LeftOut > 0; m.part {
		count += partMark
	}
	return count, m
}

func (p *printer) hasResident() bool {
	for i := range p.s.Paths {
		if p.s.Paths[i].ResidentPeak > 0 {
			return true
		}
	}
	return false
}
