// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/phasetrace/phasetrace/internal/probe"

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
	// Alone are the probes that are in no pair.
	Alone []AloneEntry `json:"alone"`
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
	Semaphore       uint64 `json:"semaphore,omitempty"`
	SemaphoreOffset uint64 `json:"semaphore_offset,omitempty"`
	Nop             string `json:"nop"`
	// NopUsed is the one of two nops that a trace on this kernel uses.
	NopUsed string `json:"nop_used,omitempty"`
	Traced  bool   `json:"traced"` // a chosen pair uses it
	// Refused says why a trace on this kernel leaves it alone.
	Refused   string     `json:"refused,omitempty"`
	Arguments []ArgEntry `json:"arguments"`
	Pairs     []PairRef  `json:"pairs"`
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
	Origin    string   `json:"origin"` // markers, catalogue, naming rule or --pair
	Traced    bool     `json:"traced"`
	Why       string   `json:"why"`
	// Requires says what the user must do for the probes to fire at all.
	Requires   string   `json:"requires,omitempty"`
	Warnings   []string `json:"warnings,omitempty"`
	EnterSites int      `json:"enter_sites"`
	ExitSites  int      `json:"exit_sites"`
	// Spec is the pair as --pair takes it.
	Spec string `json:"spec"`
}

// AloneEntry is a probe that is in no pair.
type AloneEntry struct {
	Provider string `json:"provider"`
	Probe    string `json:"probe"`
	Sites    int    `json:"sites"`
	// MightPair are guesses by name, as --pair takes them, the likeliest first.
	MightPair []string `json:"might_pair"`
}

// WriteJSON writes the listing as one [Document]. pairsOnly leaves the sites
// out. File by file, so that the text of a huge listing is never held at once.
func WriteJSON(w io.Writer, l *Listing, pairsOnly bool) error {
	b := newWriter(w)
	fmt.Fprintf(b, "{\"schema_version\":%d", SchemaVersion)
	if p := l.Process; p != nil {
		b.WriteString(",\"process\":")
		b.value(ProcessEntry{p.PID, p.NSPIDs, p.Comm, p.Exe, p.Truncated})
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
			b.value(fileEntry(f))
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
		b.value(l.pairEntry(&l.Choices[i]))
	}
	b.WriteString("\n],\n\"alone\":[")
	for i, a := range usdt.AloneOf(l.Sites, l.Choices) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n")
		e := AloneEntry{a.Provider, a.Name, a.Sites, a.Might}
		if e.MightPair == nil {
			e.MightPair = []string{}
		}
		b.value(e)
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
func (l *Listing) writeFile(b *writer, f *File, members [][]membership, first int) {
	head, err := json.Marshal(fileEntry(f))
	if err != nil {
		head = []byte(`{"sites":[]}`) // not reachable: the entry holds texts only
	}
	const empty = "[]}" // sites come last
	b.json(head[:len(head)-len(empty)])
	b.WriteByte('[')
	e := SiteEntry{Arguments: []ArgEntry{}, Pairs: []PairRef{}} // one for all: garbage adds up
	for i := range f.siteCount() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n ")
		l.fillSite(&e, first+i, members[first+i])
		b.value(&e)
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

// fillSite makes e the entry of a site and reuses its slices.
func (l *Listing) fillSite(e *SiteEntry, i int, members []membership) {
	s := &l.Sites[i]
	*e = SiteEntry{
		Provider: s.Provider, Probe: s.Name, Offset: s.Offset, Address: s.Location,
		Semaphore: s.Semaphore, SemaphoreOffset: s.RefCtr, Nop: s.Nop.String(), NopUsed: l.usedNop(i),
		Refused: l.refused(i), Arguments: e.Arguments[:0], Pairs: e.Pairs[:0],
	}
	for _, m := range members {
		e.Pairs = append(e.Pairs, PairRef{m.choice, m.role})
		e.Traced = e.Traced || l.Choices[m.choice].Chosen && e.Refused == ""
	}
	for n := range s.Args {
		e.Arguments = append(e.Arguments, l.argEntry(&s.Args[n], n, members))
	}
}

func (l *Listing) argEntry(a *probe.Operand, n int, members []membership) ArgEntry {
	e := ArgEntry{Operand: a.Text, Type: valueType(a)}
	var bad *usdt.OperandError
	switch {
	case errors.As(a.Err, &bad):
		e.Error = bad.Reason.Error() // the operand is there already
	case a.Err != nil:
		e.Error = a.Err.Error()
	default:
		e.Where = a.Kind.String()
	}
	if e.As, e.Key = l.argUse(n, members); e.Key != "" && e.As == "" {
		e.As = usdt.TypeInt.String()
	}
	return e
}

// argUse is argUse of the first pair that uses an argument.
func (l *Listing) argUse(n int, members []membership) (typ, key string) {
	for _, m := range members {
		if typ, key = argUse(&l.Choices[m.choice].Pair, m.role, n); key != "" {
			break
		}
	}
	return typ, key
}

func (l *Listing) pairEntry(c *usdt.Choice) PairEntry {
	p := &c.Pair
	e := PairEntry{
		Provider: p.Provider, Enter: p.Enter, Exits: p.Exits, Resets: p.Resets, Lane: p.Lane,
		Reentrant: p.Reentrant, Keyed: p.Keyed(), Origin: p.Origin.String(),
		Traced: c.Chosen, Why: l.why(c), Requires: p.Requires, Warnings: c.Warnings,
		EnterSites: len(c.EnterSites), ExitSites: len(c.ExitSites), Spec: p.String(),
	}
	if p.NameArg == nil {
		e.Name = p.Name
	}
	return e
}

// writer writes JSON values one after the other through buffers that it keeps.
type writer struct {
	*bufio.Writer
	text    bytes.Buffer
	encoder *json.Encoder // to text
	safe    []byte
}

func newWriter(w io.Writer) *writer {
	out := &writer{Writer: bufio.NewWriterSize(w, 64<<10)}
	out.encoder = json.NewEncoder(&out.text)
	return out
}

// value writes a value. An error stays for Flush.
func (w *writer) value(v any) {
	w.text.Reset()
	if err := w.encoder.Encode(v); err != nil {
		w.text.WriteString("null\n") // not reachable: entries hold texts and numbers only
	}
	w.json(bytes.TrimSuffix(w.text.Bytes(), []byte("\n")))
}

func (w *writer) json(text []byte) {
	w.safe = SafeJSON(w.safe[:0], text)
	_, _ = w.Write(w.safe)
}

// SafeJSON appends JSON text with everything a terminal would act on as \u
// escapes; a parser reads the same.
func SafeJSON(dst, text []byte) []byte {
	for len(text) > 0 {
		if c := text[0]; c < 0x7f {
			dst, text = append(dst, c), text[1:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		switch {
		case human.Visible(r):
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
