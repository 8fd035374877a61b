// SPDX-License-Identifier: Apache-2.0

package human

import "slices"

// columnGap stands between two columns.
const columnGap = "  "

// Table lays out cells in aligned columns, by what a terminal shows: colour codes
// have no width and East Asian characters two columns, which text/tabwriter does
// not know. It asks for every cell twice and keeps none, so that a large table is
// never held in memory.
type Table struct {
	Head   []string // of each column
	Indent int      // spaces before the first column
	// Right aligns all columns but the first to the right. Otherwise all are
	// aligned to the left, and the last may be of any length.
	Right bool
	// Limit is the width at which cells are cut, except in the last column; 0
	// means no limit.
	Limit int
	// Whole are the columns that are never cut: a cell that is wider than Limit
	// pushes the rest of its line to the right.
	Whole []int
	// Cell returns an escaped text.
	Cell func(row, column int) string
	// Tint returns the colour of a cell, "" for none; nil is none for all.
	Tint func(row, column int) Colour
	// HeadTint is the colour of the head.
	HeadTint Colour
	Paint    Palette

	widths []int
}

// Measure sets the widths of the columns for rows 0 to rows-1. It must be called
// before the table is written.
func (t *Table) Measure(rows int) {
	t.widths = make([]int, len(t.Head))
	for c := range t.widths {
		if !t.Right && c == len(t.widths)-1 {
			return // of any length
		}
		t.widths[c] = Width(t.Head[c])
		for r := range rows {
			t.widths[c] = max(t.widths[c], Width(t.Cell(r, c)))
		}
		if t.Limit > 0 {
			t.widths[c] = min(t.widths[c], t.Limit)
		}
	}
}

// Before is the number of terminal columns before the last column.
func (t *Table) Before() int {
	n := t.Indent
	for _, w := range t.widths[:len(t.widths)-1] {
		n += w + len(columnGap)
	}
	return n
}

// ColumnWidth is the width of a column.
func (t *Table) ColumnWidth(column int) int { return t.widths[column] }

// Width is the width of a row. A last column that may be of any length counts for
// nothing.
func (t *Table) Width() int { return t.Before() + t.widths[len(t.widths)-1] }

// AppendHead appends the line of the head.
func (t *Table) AppendHead(dst []byte) []byte {
	return t.line(dst, func(c int) (string, Colour) { return t.Head[c], t.HeadTint })
}

// AppendRow appends the line of a row.
func (t *Table) AppendRow(dst []byte, row int) []byte {
	return t.line(dst, func(c int) (string, Colour) {
		tint := Colour("")
		if t.Tint != nil {
			tint = t.Tint(row, c)
		}
		return t.Cell(row, c), tint
	})
}

func (t *Table) line(dst []byte, cell func(column int) (string, Colour)) []byte {
	dst = appendSpaces(dst, t.Indent)
	last := len(t.Head) - 1
	for c := range t.Head {
		if c > 0 {
			dst = append(dst, columnGap...)
		}
		text, tint := cell(c)
		if t.Limit > 0 && (c < last || t.Right) && !slices.Contains(t.Whole, c) {
			text = Fit(text, t.widths[c])
		}
		room := t.widths[c] - Width(text)
		if t.Right && c > 0 {
			dst = appendSpaces(dst, room)
		}
		if tint != "" {
			text = t.Paint.Paint(tint, text)
		}
		dst = append(dst, text...)
		if !t.Right && c < last || t.Right && c == 0 {
			dst = appendSpaces(dst, room)
		}
	}
	return append(dst, '\n')
}

func appendSpaces(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, ' ')
	}
	return dst
}
