// SPDX-License-Identifier: Apache-2.0

package instructions

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
)

// Tolerance is how much a row may grow.
const Tolerance = 0.03

// Line is a row of a measurement beside the committed table. What a row has over
// the floor is compared: phasetrace's own path and the kernel functions it calls,
// without the kernel's way to an empty program and back, which every release of a
// kernel changes.
type Line struct {
	Row
	Over      float64
	Committed float64 // over the floor; NaN if the table has no such row
}

// Growth is by how much of the committed value the row is more; NaN if unknown.
func (l Line) Growth() float64 { return l.Over/l.Committed - 1 }

// Comparison is a measurement beside the committed table.
type Comparison struct {
	now, committed *Measurement
	Lines          []Line   // the measurement's rows; the first is the floor
	Gone           []string // rows that the table has and the measurement has not
}

// Compare puts a measurement beside the committed table.
func Compare(now, committed *Measurement) *Comparison {
	c := &Comparison{now: now, committed: committed}
	known := map[string]Row{}
	for _, r := range committed.Rows {
		known[r.Name] = r
	}
	for _, r := range now.Rows {
		l := Line{Row: r, Over: now.over(r), Committed: math.NaN()}
		if k, ok := known[r.Name]; ok {
			l.Committed = committed.over(k)
			delete(known, r.Name)
		}
		c.Lines = append(c.Lines, l)
	}
	for _, r := range committed.Rows {
		if _, gone := known[r.Name]; gone {
			c.Gone = append(c.Gone, r.Name)
		}
	}
	return c
}

// Table is the comparison for people.
func (c *Comparison) Table() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "instructions a boundary, Linux %s, %s\n", c.now.Kernel, c.now.Emulator)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "instructions\tover floor\tcommitted\tdifference\t\t")
	for i, l := range c.Lines {
		committed, difference := "-", "-"
		if i > 0 && !math.IsNaN(l.Committed) {
			committed, difference = fmt.Sprintf("%.1f", l.Committed), fmt.Sprintf("%+.1f %%", 100*l.Growth())
		}
		fmt.Fprintf(w, "%.1f\t%+.1f\t%s\t%s\t  %s\n", l.Instructions, l.Over, committed, difference, l.Name)
	}
	_ = w.Flush() // into memory
	return b.Bytes()
}

// Problem says in one line why the measurement does not fit the table, "" if it
// does. A row that shrank fits.
func (c *Comparison) Problem() string {
	var grown, unknown []string
	for _, l := range c.Lines[1:] {
		switch {
		case math.IsNaN(l.Committed):
			unknown = append(unknown, quoted(l.Name))
		case l.Over > l.Committed*(1+Tolerance):
			grown = append(grown, fmt.Sprintf("%q (%+.1f %%)", l.Name, 100*l.Growth()))
		}
	}
	var parts []string
	if grown != nil {
		parts = append(parts, fmt.Sprintf("grown by more than %.0f %%: ", 100*Tolerance)+strings.Join(grown, ", "))
	}
	if unknown != nil {
		parts = append(parts, "not in the table: "+strings.Join(unknown, ", "))
	}
	if c.Gone != nil {
		gone := make([]string, len(c.Gone))
		for i, name := range c.Gone {
			gone[i] = quoted(name)
		}
		parts = append(parts, "in the table, but not measured: "+strings.Join(gone, ", "))
	}
	return strings.Join(parts, "; ")
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// Elsewhere says what of the machine is not as when the table was made, "" if all
// is.
func (c *Comparison) Elsewhere() string {
	var parts []string
	if c.now.Kernel != c.committed.Kernel {
		parts = append(parts, "Linux "+c.committed.Kernel)
	}
	if c.now.Emulator != c.committed.Emulator {
		parts = append(parts, c.committed.Emulator)
	}
	return strings.Join(parts, " and ")
}

// Shrunk are the rows that take so much less than the table says that they could
// grow unseen.
func (c *Comparison) Shrunk() []string {
	var names []string
	for _, l := range c.Lines[1:] {
		if l.Over < l.Committed*(1-Tolerance) {
			names = append(names, quoted(l.Name))
		}
	}
	return names
}

// Spread is the largest difference between the boots' values of each row, as a
// fraction of the least. All boots have the same rows.
func Spread(boots []*Measurement) []float64 {
	out := make([]float64, len(boots[0].Rows))
	for i := range out {
		low, high := math.Inf(1), math.Inf(-1)
		for _, m := range boots {
			low, high = min(low, m.Rows[i].Instructions), max(high, m.Rows[i].Instructions)
		}
		out[i] = high/low - 1
	}
	return out
}
