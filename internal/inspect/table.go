// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Widest columns of the tables; a longer text is cut there and ends in an
// ellipsis. JSON has it whole.
const (
	maxColumn = 60
	maxText   = 2000 // the last column
	// maxCopied is for names that a person copies into --pair, which takes nothing
	// longer: a provider and a probe of 256 bytes each.
	maxCopied = 513
)

// WriteTable writes the listing for a person: one line for each site and one
// for each pair. pairsOnly leaves the sites out. Foreign text is escaped.
func WriteTable(w io.Writer, l *Listing, pairsOnly bool, paint human.Palette) error {
	b := bufio.NewWriterSize(w, 64<<10)
	if p := l.Process; p != nil {
		writeProcess(b, p)
	}
	members := l.memberships()
	if !pairsOnly {
		writeSites(b, l, members, paint)
	}
	writePairs(b, l, paint)
	return b.Flush()
}

func writeProcess(b *bufio.Writer, p *Process) {
	fmt.Fprintf(b, "Process %d, %s (%s)", p.PID, human.Fit(p.Comm, maxColumn), human.Fit(p.Exe, maxText))
	if n := len(p.NSPIDs); n > 1 {
		fmt.Fprintf(b, ", in its own namespace %d", p.NSPIDs[n-1])
	}
	b.WriteString("\n")
	if p.Truncated {
		b.WriteString("Some of its files are missing here: it has more than phasetrace looks at.\n")
	}
	b.WriteString("\n")
}

// writeTable writes a table of a number of rows. below, if there is one, returns
// what follows a row, at the indent of the last column.
func writeTable(b *bufio.Writer, t *human.Table, rows int, paint human.Palette, below func(row int, indent string) string) {
	t.Indent, t.Limit, t.HeadTint, t.Paint = 2, maxColumn, human.Dim, paint
	t.Measure(rows)
	line := t.AppendHead(nil)
	_, _ = b.Write(line) // an error stays for Flush
	indent := strings.Repeat(" ", t.Before())
	for row := range rows {
		line = t.AppendRow(line[:0], row)
		_, _ = b.Write(line)
		if below != nil {
			b.WriteString(below(row, indent))
		}
	}
}

func writeSites(b *bufio.Writer, l *Listing, members [][]membership, paint human.Palette) {
	var next, without int
	for i := range l.Files {
		f := &l.Files[i]
		n := f.siteCount()
		switch {
		case f.Err != nil:
			fmt.Fprintf(b, "%s: not read: %s\n\n", human.Fit(f.Path, maxText), human.Fit(f.Err.Error(), maxText))
		case n == 0 && len(f.ELF.Problems) == 0:
			without++
		default:
			writeFileHead(b, f, paint)
			if n > 0 {
				writeTable(b, siteTable(l, members, next), n, paint, nil)
			}
			l.writeProblems(b, f)
			b.WriteString("\n")
		}
		next += n
	}
	if without > 0 {
		fmt.Fprintf(b, "%s without USDT probes.\n\n", human.Plural(uint64(without), "file"))
	}
}

func writeFileHead(b *bufio.Writer, f *File, paint human.Palette) {
	probes := make(map[[2]string]bool)
	for i := range f.ELF.Sites {
		probes[[2]string{f.ELF.Sites[i].Provider, f.ELF.Sites[i].Name}] = true
	}
	b.WriteString(paint.Paint(human.Bold, human.Fit(f.Path, maxText)))
	if f.Deleted {
		b.WriteString(" (deleted)")
	}
	fmt.Fprintf(b, ": %s %s, %s of %s", f.ELF.Arch, kindOf(f.ELF),
		human.Plural(uint64(len(f.ELF.Sites)), "site"), human.Plural(uint64(len(probes)), "probe"))
	if f.ELF.BuildID != "" {
		fmt.Fprintf(b, ", build id %s", human.Fit(f.ELF.BuildID, 16))
	}
	b.WriteString("\n")
}

func (l *Listing) writeProblems(b *bufio.Writer, f *File) {
	const shown = 10
	for i, p := range f.ELF.Problems {
		if i == shown {
			fmt.Fprintf(b, "  problem: %s\n", l.rest(len(f.ELF.Problems)-shown))
			return
		}
		fmt.Fprintf(b, "  problem: %s\n", human.Fit(p.Error(), maxText))
	}
}

func siteTable(l *Listing, members [][]membership, first int) *human.Table {
	return &human.Table{
		Head:  []string{"PROBE", "OFFSET", "SEMAPHORE", "NOP", "TRACED", "PAIR", "ARGUMENTS"},
		Whole: []int{0},
		Cell: func(r, c int) string {
			s, ms := &l.Sites[first+r], members[first+r]
			switch c {
			case 0:
				return human.Fit(s.Provider+":"+s.Name, maxCopied)
			case 1:
				return fmt.Sprintf("%#x", s.Offset)
			case 2:
				return semaphore(s)
			case 3:
				if used := l.usedNop(first + r); used != "" {
					return used + " of " + s.Nop.String()
				}
				return s.Nop.String()
			case 4:
				return yes(l.traced(first+r, ms))
			case 5:
				return l.pairCell(ms)
			}
			return l.argCell(s, ms)
		},
		Tint: func(r, c int) human.Colour {
			if c == 4 && l.traced(first+r, members[first+r]) {
				return human.Green
			}
			return ""
		},
	}
}

func semaphore(s *usdt.Site) string {
	switch {
	case s.RefCtr != 0:
		return fmt.Sprintf("%#x", s.RefCtr)
	case s.Semaphore != 0:
		return "broken"
	}
	return "-"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// traced says whether records are taken at a site, which has these memberships.
func (l *Listing) traced(site int, ms []membership) bool {
	if l.refused(site) != "" {
		return false
	}
	for _, m := range ms {
		if l.Choices[m.choice].Chosen {
			return true
		}
	}
	return false
}

// pairCell names the pairs of a site. If it is an end of one, its resets and notes
// are left out.
func (l *Listing) pairCell(ms []membership) string {
	var b []byte
	for _, m := range ms {
		if (m.role == RoleReset || m.role == RoleNote) && len(b) > 0 || len(b) > 4*maxColumn {
			continue
		}
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = human.AppendFit(b, phase(&l.Choices[m.choice].Pair), maxColumn)
		b = append(append(b, ' '), m.role...)
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}

// phase names the phase of a pair; <argN> is one that an argument names.
func phase(p *usdt.PairSpec) string {
	if p.NameArg != nil {
		return fmt.Sprintf("<arg%d>", p.NameArg.Arg)
	}
	return p.Name
}

// argCell is each argument with its number, its type, what its pair calls it,
// and its operand.
func (l *Listing) argCell(s *usdt.Site, ms []membership) string {
	if len(s.Args) == 0 {
		return "-"
	}
	var b []byte
	for n := range s.Args {
		a := &s.Args[n]
		typ, key := valueType(a), ""
		if as, k := l.argUse(n, ms); k != "" {
			if key = k; as != "" && a.Err == nil {
				typ = as
			}
		}
		if n > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "arg%d", n)
		if key != "" {
			b = append(b, ' ')
			b = human.AppendFit(b, key, maxColumn)
		}
		b = append(b, ' ')
		b = append(b, typ...)
		b = append(b, ' ')
		b = human.AppendFit(b, a.Text, maxColumn)
	}
	return string(b)
}
