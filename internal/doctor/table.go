// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bufio"
	"bytes"
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
// it is for and what to do below those that are not fine. Lines are broken to fit
// width columns; 0 breaks none.
func WriteTable(w io.Writer, r *Report, paint human.Palette, width int) error {
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
			row := bytes.TrimSuffix(table.AppendRow(nil, i), []byte("\n"))
			writeFolded(b, row, width, table.Before()) // an error stays for Flush
			writeBelow(b, c, width, table.Before(), c.Remedy != said)
			if c.Result != OK {
				said = c.Remedy
			}
		}
	}
	b.WriteString("\n")
	writeFolded(b, []byte(verdict(r, paint)), width, 2)
	return b.Flush()
}

func writeFolded(b *bufio.Writer, line []byte, width, indent int) {
	_, _ = b.Write(append(human.AppendFolded(nil, line, width, indent), '\n'))
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
func writeBelow(b *bufio.Writer, c *Check, width, indent int, remedy bool) {
	if c.Result == OK {
		return
	}
	space := strings.Repeat(" ", indent)
	hang := indent + len("for: ")
	writeFolded(b, []byte(space+"for: "+c.Purpose), width, hang)
	if c.Remedy != "" && remedy {
		writeFolded(b, []byte(space+"do:  "+human.Fit(c.Remedy, maxCell)), width, hang)
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

// verdict is the last line: whether tracing works, and what is in the way if not.
func verdict(r *Report, paint human.Palette) string {
	what, where := "Tracing", " on this machine"
	if r.PID != 0 {
		what, where = fmt.Sprintf("Tracing process %d", r.PID), ""
	}
	if r.Works {
		return paint.Paint(human.Green, what+" works"+where+".")
	}
	var names []string
	untried := uint64(0)
	for _, c := range r.Broken() {
		switch {
		case c.Result == Unknown:
			untried++
			continue
		case c.Group == GroupPrivileges:
			where = " without more privileges"
		}
		names = append(names, human.Escape(c.Name))
	}
	text := what + " does not work" + where
	if len(names) > 0 {
		text += ": see " + strings.Join(names, ", ")
	}
	if untried > 0 {
		text += "; " + human.Plural(untried, "check") + " could not be tried"
	}
	return paint.Paint(human.Red, text+".")
}
