// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/output"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/output/phrase"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Defaults of Options.
const (
	DefaultMaxPhases = 200
	DefaultNameWidth = 48
	DefaultMaxItems  = 20
)

// Options of a summary. Zero fields take the defaults.
type Options struct {
	// Colour lets the summary use terminal colours; see human.ColourWanted.
	Colour bool
	// MaxPhases is how many phases the table shows, those with the largest total
	// first. It says how many it leaves out.
	MaxPhases int
	// NameWidth is the largest width of the phase column, in terminal columns.
	NameWidth int
	// Width is how many columns the terminal has. Lines are then broken between
	// words, and the table has the columns that fit. 0: no terminal, and no limit.
	Width int
	// MaxItems is how many violations, how many sites and how many notes are
	// listed.
	MaxItems int
	// Unhit lists the sites that were attached and never hit. Without it they are
	// told of only where a reason is known, or where nothing at all was hit;
	// UnhitAdvice then says how to have them listed.
	Unhit       bool
	UnhitAdvice string
}

func (o Options) withDefaults() Options {
	if o.MaxPhases <= 0 {
		o.MaxPhases = DefaultMaxPhases
	}
	if o.NameWidth <= 0 {
		o.NameWidth = DefaultNameWidth
	}
	if o.MaxItems <= 0 {
		o.MaxItems = DefaultMaxItems
	}
	return o
}

// Write writes the summary to w in one call of its Write method.
func Write(w io.Writer, s *stream.Summary, o Options) error {
	text := Append(nil, s, o)
	n, err := w.Write(text)
	if err == nil && n < len(text) {
		err = io.ErrShortWrite
	}
	return output.WriteError("the summary", err)
}

// Append appends the summary's text to dst.
func Append(dst []byte, s *stream.Summary, o Options) []byte {
	p := &printer{o: o.withDefaults(), s: s, colour: human.Palette(o.Colour)}
	p.head()
	p.phases()
	p.outcomes()
	p.ranks()
	p.groups()
	p.open()
	p.parts()
	p.cost()
	p.gpus()
	p.violations()
	p.losses()
	p.sites()
	p.notes()
	return folded(dst, p.b, o.Width)
}

// folded appends text with its lines broken to a width. The table fits already.
func folded(dst, text []byte, width int) []byte {
	for line := range bytes.Lines(text) {
		line, ended := bytes.CutSuffix(line, []byte{'\n'})
		indent := len(line) - len(bytes.TrimLeft(line, " "))
		dst = human.AppendFolded(dst, line, width, indent+4)
		if ended {
			dst = append(dst, '\n')
		}
	}
	return dst
}

// printer appends a summary part by part.
type printer struct {
	b      []byte
	o      Options
	s      *stream.Summary
	colour human.Palette
}

func (p *printer) printf(format string, args ...any) { p.b = fmt.Appendf(p.b, format, args...) }

// noteWidth is the longest note shown, in columns: notes name files.
const noteWidth = 500

// text escapes and cuts a foreign string to fit on a line.
func text(s string) string { return human.Fit(s, 200) }

// heading appends a part's title; a bad one says that something is wrong.
func (p *printer) heading(bad bool, format string, args ...any) {
	title := fmt.Sprintf(format, args...)
	if bad {
		title = p.colour.Paint(human.Red, "!! "+title)
	} else {
		title = p.colour.Paint(human.Bold, title)
	}
	p.printf("\n%s\n", title)
}

func (p *printer) head() {
	s := p.s
	p.printf("%s %s: %s", p.colour.Paint(human.Bold, "session"), text(s.SessionID), human.Duration(s.Elapsed))
	if s.EndReason != "" {
		p.printf(", ended by %s", text(strings.ReplaceAll(s.EndReason, "_", " ")))
	}
	if s.EndReason == "" {
		p.printf(" so far")
	}
	p.printf("\n%s of %s", human.Plural(s.Boundaries, "boundary"), human.Plural(s.Received, "record"))
	if s.Synthetic > 0 {
		p.printf("; %s made by phasetrace itself", human.Count(s.Synthetic))
	}
	p.printf("\n%s, %s, %s\n", human.Plural(s.ViolationTotal, "violation"), human.Plural(s.Orphans, "orphan exit"),
		human.Plural(s.Lost, "lost record"))
	if s.LeftOut > 0 {
		p.printf("%s of %s not written, as asked; the figures here are of all\n", human.Count(s.LeftOut), human.Plural(s.Boundaries, "boundary"))
	}
}

// more says how many entries of a list are left out.
func (p *printer) more(n int, where string) {
	if n > 0 {
		p.printf("  %s and %s more%s\n", human.Ellipsis, human.Count(uint64(n)), where)
	}
}

func (p *printer) violations() {
	s := p.s
	if s.ViolationTotal == 0 {
		return
	}
	p.heading(true, "%s of strict nesting by the traced program (%d distinct)",
		human.Plural(s.ViolationTotal, "violation"), len(s.Violations))
	for i := range s.Violations[:min(len(s.Violations), p.o.MaxItems)] {
		v := &s.Violations[i]
		p.printf("  %s× %s\n", human.Count(v.Count), human.Escape(v.First.Err.Error()))
		if m := v.First.Marker; m != nil {
			p.printf("      by %s\n", site(m))
		}
	}
	p.more(len(s.Violations)-p.o.MaxItems, "")
}

// site names a marker and where it is.
func site(m *stream.Marker) string {
	return fmt.Sprintf("%s:%s at %s+%#x", human.Fit(m.Provider, 40), human.Fit(m.Probe, 60), text(m.Path), m.Offset)
}

func (p *printer) losses() {
	s := p.s
	p.orphans()
	if s.Lost > 0 {
		p.heading(true, "%s of %s lost by phasetrace: no fault of the program",
			human.Count(s.Lost), human.Plural(s.Received+s.Lost, "record"))
		p.printf("  figures of the phases around the gaps are incomplete; trace fewer pairs or give phasetrace more CPU\n")
	}
	if s.LostOther > 0 {
		p.heading(true, "%s about threads and processes lost", human.Plural(s.LostOther, "record"))
	}
	if n := s.Dropped.Total(); n > 0 {
		p.heading(true, "%s not written: an output was too slow", human.Plural(n, "record"))
		p.printf("  the figures here include them; write to a faster disk or reader, or trace fewer pairs\n")
	}
}

// orphans says why there were exits for which no phase was open.
func (p *printer) orphans() {
	s := p.s
	if s.Orphans == 0 {
		return
	}
	p.heading(false, "%s, no violations; why no phase was open:", human.Plural(s.Orphans, "orphan exit"))
	for _, o := range s.OrphanReasons {
		p.printf("  %s× %s\n", human.Count(o.Count), text(phrase.Orphan(o.Reason)))
	}
}

func (p *printer) sites() {
	zero := p.s.ZeroSites
	if !p.o.Unhit {
		p.unhit(zero)
		return
	}
	if len(zero) == 0 {
		return
	}
	p.heading(false, "%s never hit", human.Plural(uint64(len(zero)), "attached site"))
	for i := range zero[:min(len(zero), p.o.MaxItems)] {
		z := &zero[i]
		p.printf("  %s\n", site(&z.Marker))
		if z.Remedy != "" {
			p.printf("      %s\n", text(z.Remedy))
		}
	}
	p.more(len(zero)-p.o.MaxItems, "")
}

// unhit tells, once of each reason, why sites were never hit.
func (p *printer) unhit(zero []stream.ZeroSite) {
	type reason struct {
		first *stream.Marker
		sites int
		why   string
	}
	var reasons []reason
	for i := range zero {
		z := &zero[i]
		at := slices.IndexFunc(reasons, func(r reason) bool { return r.why == z.Remedy })
		if at < 0 && z.Remedy != "" {
			at, reasons = len(reasons), append(reasons, reason{first: &z.Marker, why: z.Remedy})
		}
		if at >= 0 {
			reasons[at].sites++
		}
	}
	if len(zero) == 0 || len(reasons) == 0 && p.s.Received > 0 {
		return
	}
	advice := ""
	if p.o.UnhitAdvice != "" {
		advice = " (" + p.o.UnhitAdvice + ")"
	}
	p.heading(false, "%s never hit%s", human.Plural(uint64(len(zero)), "attached site"), advice)
	for _, r := range reasons[:min(len(reasons), p.o.MaxItems)] {
		p.printf("  %s:%s", human.Fit(r.first.Provider, 40), human.Fit(r.first.Probe, 60))
		if r.sites > 1 {
			p.printf(" and %s like it", human.Count(uint64(r.sites-1)))
		}
		p.printf(": %s\n", text(r.why))
	}
	p.more(len(reasons)-p.o.MaxItems, "")
}

func (p *printer) notes() {
	notes := p.s.Notes
	if len(notes) == 0 {
		return
	}
	p.heading(false, "notes")
	for i := range notes[:min(len(notes), p.o.MaxItems)] {
		n := &notes[i]
		p.printf("  %s", human.Fit(n.What, noteWidth))
		if n.Count > 0 {
			p.printf(" (%s×)", human.Count(n.Count))
		}
		p.printf("\n")
	}
	p.more(len(notes)-p.o.MaxItems, "")
}

// duration is a figure of a phase, or unknown.
func duration(d time.Duration, known bool) string {
	if !known {
		return human.Unknown
	}
	return human.Duration(d)
}
