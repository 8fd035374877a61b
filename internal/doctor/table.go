// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/phasetrace/phasetrace/internal/output/human"
)

// maxCell bounds what of a text is shown: details quote other programs.
const maxCell = 1000

var titles = []struct{ group, title string }{
	{GroupKernel, "Kernel"},
	{GroupPrivileges, "Privileges of phasetrace"},
	{GroupSystem, "System"},
	{GroupGPU, "GPU"},
	{GroupProcess, "Process"},
}

// WriteTable writes the report for a person: a line for each check, and what
// it is for and what to do below those that are not fine.
func WriteTable(w io.Writer, r *Report, paint human.Palette) error {
	b := bufio.NewWriter(w)
	table := checkTable(r, paint)
	fmt.Fprintf(b, "Linux %s, %s\n", human.Escape(r.Kernel), r.Architecture)
	said := "" // a remedy that helps several checks in a row is shown once
	for _, t := range titles {
		first := true
		for i := range r.Checks {
			c := &r.Checks[i]
			if c.Group != t.group {
				continue
			}
			if first {
				title := t.title
				if c.Group == GroupProcess {
					title = fmt.Sprintf("%s %d", title, r.PID)
				}
				fmt.Fprintf(b, "\n%s\n", paint.Paint(human.Bold, title))
				first = false
			}
			_, _ = b.Write(table.AppendRow(nil, i)) // an error stays for Flush
			writeBelow(b, c, table.Before(), c.Remedy != said)
			if c.Result != OK {
				said = c.Remedy
			}
		}
	}
	b.WriteString("\n")
	writeVerdict(b, r, paint)
	return b.Flush()
}

// checkTable lays out the checks. The head, which is not shown, keeps the first
// column as wide as the longest result.
func checkTable(r *Report, paint human.Palette) *human.Table {
	t := &human.Table{
		Head: []string{string(Missing), "", ""}, Indent: 2, Paint: paint,
		Cell: func(row, column int) string {
			c := &r.Checks[row]
			switch column {
			case 0:
				return string(c.Result)
			case 1:
				return human.Escape(c.Name)
			}
			return human.Fit(c.Detail, maxCell)
		},
		Tint: func(row, column int) human.Colour {
			if column > 0 {
				return ""
			}
			return r.Checks[row].colour()
		},
	}
	t.Measure(len(r.Checks))
	return t
}

// writeBelow writes what a check that is not fine is for, and what to do.
func writeBelow(b *bufio.Writer, c *Check, indent int, remedy bool) {
	if c.Result == OK {
		return
	}
	space := strings.Repeat(" ", indent)
	fmt.Fprintf(b, "%sfor: %s\n", space, c.Purpose)
	if c.Remedy != "" && remedy {
		fmt.Fprintf(b, "%sdo:  %s\n", space, human.Fit(c.Remedy, maxCell))
	}
}

func (c *Check) colour() human.Colour {
	switch {
	case c.Result == OK:
		return human.Green
	case c.Required && c.Result != Warn:
		return human.Red
	}
	return human.Yellow
}

func writeVerdict(b *bufio.Writer, r *Report, paint human.Palette) {
	what := "Tracing works on this machine."
	if r.PID != 0 {
		what = fmt.Sprintf("Tracing process %d works.", r.PID)
	}
	if r.Works {
		fmt.Fprintf(b, "%s\n", paint.Paint(human.Green, what))
		return
	}
	var names []string
	for _, c := range r.Broken() {
		names = append(names, human.Escape(c.Name))
	}
	what = strings.Replace(what, " works", " does not work", 1)
	fmt.Fprintf(b, "%s\n", paint.Paint(human.Red, strings.TrimSuffix(what, ".")+": see "+strings.Join(names, ", ")+"."))
}
