// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// SchemaVersion is the version of [Document]. Fields may be added within a
// version; one is never renamed, removed or given another meaning.
const SchemaVersion = 1

// Document is the JSON form of a listing. Offsets are bytes from the start of
// the file, addresses are virtual ones as the file states them. Text that is
// not UTF-8 has U+FFFD in the place of each bad byte.
type Document struct {
	SchemaVersion int           `json:"schema_version"`
	Process       *ProcessEntry `json:"process,omitempty"`
	Files         []FileEntry   `json:"files"`
	Pairs         []PairEntry   `json:"pairs"`
}

// ProcessEntry is the process that was looked at.
type ProcessEntry struct {
	PID           int    `json:"pid"`
	NamespacePIDs []int  `json:"namespace_pids"` // from our PID namespace inwards
	Name          string `json:"name"`
	Executable    string `json:"executable"`
	Truncated     bool   `json:"truncated,omitempty"` // files are missing
}

// FileEntry is a file and its sites.
type FileEntry struct {
	Path         string      `json:"path"`
	Deleted      bool        `json:"deleted,omitempty"`
	Main         bool        `json:"main,omitempty"`
	Error        string      `json:"error,omitempty"` // why the file could not be read
	Architecture string      `json:"architecture,omitempty"`
	Kind         string      `json:"kind,omitempty"`
	BuildID      string      `json:"build_id,omitempty"`
	Problems     []string    `json:"problems,omitempty"`
	Sites        []SiteEntry `json:"sites"`
}

// SiteEntry is one place of a probe.
type SiteEntry struct {
	Provider string `json:"provider"`
	Probe    string `json:"probe"`
	Offset   uint64 `json:"offset"`
	Address  uint64 `json:"address"`
	// Semaphore is its address, SemaphoreOffset its place in the file; absent
	// where there is none.
	Semaphore       uint64     `json:"semaphore,omitempty"`
	SemaphoreOffset uint64     `json:"semaphore_offset,omitempty"`
	Nop             string     `json:"nop"`
	Traced          bool       `json:"traced"` // a chosen pair uses it
	Arguments       []ArgEntry `json:"arguments"`
	Pairs           []PairRef  `json:"pairs"`
}

// ArgEntry is one argument of a site.
type ArgEntry struct {
	Operand string `json:"operand"` // as the note has it
	// Type is int8 to int64 or uint8 to uint64, or "unsupported".
	Type  string `json:"type"`
	Where string `json:"where,omitempty"` // const, reg, mem or sym
	// As is how the first pair that uses the argument shows it: int, uint,
	// hex, str or str(argN); Key what that pair calls it.
	As    string `json:"as,omitempty"`
	Key   string `json:"key,omitempty"`
	Error string `json:"error,omitempty"` // why it cannot be read
}

// PairRef says which pair a site belongs to.
type PairRef struct {
	Pair int  `json:"pair"` // index into Document.Pairs
	Role Role `json:"role"`
}

// PairEntry is a pair that the sites could form.
type PairEntry struct {
	Provider  string   `json:"provider"`
	Enter     string   `json:"enter"`
	Exits     []string `json:"exits"`
	Resets    []string `json:"resets,omitempty"`
	Name      string   `json:"name,omitempty"` // absent when an argument names the phase
	Lane      string   `json:"lane,omitempty"`
	Reentrant bool     `json:"reentrant"`
	Keyed     bool     `json:"keyed"`
	Origin    string   `json:"origin"` // markers, catalogue, rule or flag
	Traced    bool     `json:"traced"`
	Why       string   `json:"why"`
	// Requires says what has to be done for the probes to fire at all.
	Requires   string   `json:"requires,omitempty"`
	Warnings   []string `json:"warnings,omitempty"`
	EnterSites int      `json:"enter_sites"`
	ExitSites  int      `json:"exit_sites"`
	// Spec is the pair as --pair takes it.
	Spec string `json:"spec"`
}

// WriteJSON writes the listing as one [Document]. pairsOnly leaves the sites
// out. File by file, so that the text of a huge listing is never held at once.
func WriteJSON(w io.Writer, l *Listing, pairsOnly bool) error {
	b := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(b, "{\"schema_version\":%d", SchemaVersion)
	if p := l.Process; p != nil {
		b.WriteString(",\"process\":")
		appendJSON(b, ProcessEntry{p.PID, p.NSPIDs, p.Comm, p.Exe, p.Truncated})
	}
	b.WriteString(",\n\"files\":[")
	members, next := l.memberships(), 0
	for i := range l.Files {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n")
		f := &l.Files[i]
		n := f.siteCount()
		if pairsOnly {
			appendJSON(b, fileEntry(f))
		} else {
			l.writeFile(b, f, members, next)
		}
		next += n
	}
	b.WriteString("\n],\n\"pairs\":[")
	for i := range l.Choices {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n")
		appendJSON(b, pairEntry(&l.Choices[i]))
	}
	b.WriteString("\n]}\n")
	return b.Flush()
}

func (f *File) siteCount() int {
	if f.ELF == nil {
		return 0
	}
	return len(f.ELF.Sites)
}

// writeFile writes a file with its sites, which begin at index first.
func (l *Listing) writeFile(b *bufio.Writer, f *File, members [][]membership, first int) {
	head, err := json.Marshal(fileEntry(f))
	if err != nil {
		head = []byte(`{"sites":[]}`) // not reachable: the entry holds texts only
	}
	const empty = "[]}" // sites come last
	writeSafe(b, head[:len(head)-len(empty)])
	b.WriteByte('[')
	for i := range f.siteCount() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n ")
		appendJSON(b, l.siteEntry(first+i, members[first+i]))
	}
	b.WriteString("]}")
}

func fileEntry(f *File) FileEntry {
	e := FileEntry{Path: f.Path, Deleted: f.Deleted, Main: f.Main, Sites: []SiteEntry{}}
	if f.Err != nil {
		e.Error = f.Err.Error()
	}
	if f.ELF == nil {
		return e
	}
	e.Architecture, e.Kind, e.BuildID = f.ELF.Arch.String(), kindOf(f.ELF), f.ELF.BuildID
	for _, p := range f.ELF.Problems {
		e.Problems = append(e.Problems, p.Error())
	}
	return e
}

func (l *Listing) siteEntry(i int, members []membership) SiteEntry {
	s := &l.Sites[i]
	e := SiteEntry{
		Provider: s.Provider, Probe: s.Name, Offset: s.Offset, Address: s.Location,
		Semaphore: s.Semaphore, SemaphoreOffset: s.RefCtr, Nop: s.Nop.String(),
		Arguments: make([]ArgEntry, 0, len(s.Args)), Pairs: make([]PairRef, 0, len(members)),
	}
	for _, m := range members {
		e.Pairs = append(e.Pairs, PairRef{m.choice, m.role})
		e.Traced = e.Traced || l.Choices[m.choice].Chosen
	}
	for n := range s.Args {
		e.Arguments = append(e.Arguments, l.argEntry(&s.Args[n], n, members))
	}
	return e
}

func (l *Listing) argEntry(a *usdt.Arg, n int, members []membership) ArgEntry {
	e := ArgEntry{Operand: a.Text, Type: valueType(a)}
	if a.Err != nil {
		e.Error = a.Err.Error()
	} else {
		e.Where = a.Kind.String()
	}
	for _, m := range members {
		if e.As, e.Key = argUse(&l.Choices[m.choice].Pair, m.role, n); e.Key != "" {
			if e.As == "" {
				e.As = usdt.TypeInt.String()
			}
			break
		}
	}
	return e
}

func pairEntry(c *usdt.Choice) PairEntry {
	p := &c.Pair
	e := PairEntry{
		Provider: p.Provider, Enter: p.Enter, Exits: p.Exits, Resets: p.Resets, Lane: p.Lane,
		Reentrant: p.Reentrant, Keyed: p.KeyArg != usdt.NoArg, Origin: p.Origin.String(),
		Traced: c.Chosen, Why: c.Why, Requires: p.Requires, Warnings: c.Warnings,
		EnterSites: len(c.EnterSites), ExitSites: len(c.ExitSites), Spec: p.String(),
	}
	if p.NameArg == nil {
		e.Name = p.Name
	}
	return e
}

func appendJSON(b *bufio.Writer, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte("null") // not reachable: entries hold texts and numbers only
	}
	writeSafe(b, text)
}

func writeSafe(b *bufio.Writer, text []byte) {
	_, _ = b.Write(SafeJSON(b.AvailableBuffer(), text)) // the error stays for Flush
}

// SafeJSON appends JSON text with what a terminal would act upon as \u
// escapes; what a parser reads is the same.
func SafeJSON(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r < utf8.RuneSelf && r != 0x7f || human.Visible(r):
			dst = append(dst, text[:n]...)
		case r > 0xffff:
			r -= 0x10000
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		text = text[n:]
	}
	return dst
}
