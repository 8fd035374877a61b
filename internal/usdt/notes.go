// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// Bounds of the notes, an order of magnitude above the largest real files.
const (
	maxNoteBytes = 8 << 20
	maxSites     = 1 << 15
	maxArgText   = 16 << 10 // bytes of one site's arguments
	maxBuildID   = 64       // bytes
	maxIDNotes   = 64 << 10 // bytes of a segment or section searched for the build id
)

const (
	noteSDT     = 3 // NT_STAPSDT
	noteBuildID = 3 // NT_GNU_BUILD_ID
)

// note is one ELF note.
type note struct {
	owner string
	typ   uint32
	desc  []byte
}

var errNoteEnd = errors.New("a note's sizes reach beyond its section; the notes after it are lost")

// nextNote splits the first note off b. Names and descriptors are padded to
// four bytes; the padding of the last one may be missing.
func nextNote(b []byte) (n note, rest []byte, err error) {
	if len(b) < 12 {
		return note{}, nil, errNoteEnd
	}
	name, desc := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	n.typ = binary.LittleEndian.Uint32(b[8:])
	b = b[12:]
	if name > uint64(len(b)) {
		return note{}, nil, errNoteEnd
	}
	n.owner = string(bytes.TrimSuffix(b[:min(name, 16)], []byte{0}))
	b = b[min(align4(name), uint64(len(b))):]
	if desc > uint64(len(b)) {
		return note{}, nil, errNoteEnd
	}
	n.desc = b[:desc]
	return n, b[min(align4(desc), uint64(len(b))):], nil
}

func align4(n uint64) uint64 { return (n + 3) &^ 3 }

// readSites decodes the probes of every .note.stapsdt section; there are
// several in a file whose linker kept section groups apart. It also returns
// the indices of the sites whose arguments name symbols.
func readSites(f *image, table *symbolTable, p *problems) (sites []Site, symbolic []int) {
	r := siteReader{f: f, base: f.sdtBase(), code: f.code(), table: table, p: p}
	if len(f.sections) == 0 {
		p.add("", "the file has no section headers: its probes, if it has any, cannot be found")
	}
	left := uint64(maxNoteBytes)
	for i := range f.sections {
		s := &f.sections[i]
		if elf.SectionType(s.Type) != elf.SHT_NOTE || !f.named(s, ".note.stapsdt") {
			continue
		}
		b, err := f.bytes(s.Off, s.Size, left)
		if err != nil {
			p.add("", "read section .note.stapsdt: %w", err)
			continue
		}
		left -= s.Size
		r.section(b)
	}
	return r.sites, r.symbolic
}

// sdtBase returns the address of .stapsdt.base, 0 for none.
func (f *image) sdtBase() uint64 {
	for i := range f.sections {
		if f.named(&f.sections[i], ".stapsdt.base") {
			return f.sections[i].Addr
		}
	}
	return 0
}

// siteReader turns notes into sites.
type siteReader struct {
	f        *image
	base     uint64
	code     codeRanges
	table    *symbolTable
	p        *problems
	sites    []Site
	symbolic []int
}

func (r *siteReader) section(b []byte) {
	for len(b) > 0 {
		n, rest, err := nextNote(b)
		if err != nil {
			r.p.add("", "read section .note.stapsdt: %w", err)
			return
		}
		b = rest
		if n.owner != "stapsdt" || n.typ != noteSDT {
			r.p.add("", "skip a note of owner %q, type %d: not a probe", n.owner, n.typ)
			continue
		}
		if len(r.sites) == maxSites {
			r.p.add("", "more than %d sites: the others are left out", maxSites)
			return
		}
		r.site(n.desc)
	}
}

// site decodes one descriptor: location, base and semaphore, then provider,
// name and arguments, each ended by a NUL.
func (r *siteReader) site(desc []byte) {
	if len(desc) < 24 {
		r.p.add("", "skip a note of %d bytes: too short for a probe", len(desc))
		return
	}
	text := bytes.SplitN(desc[24:], []byte{0}, 4)
	if len(text) < 4 {
		r.p.add("", "skip a note with %d of the three texts provider, name and arguments", len(text)-1)
		return
	}
	if len(text[0]) == 0 || len(text[1]) == 0 {
		r.p.add("", "skip a note without a provider or a name")
		return
	}
	if len(text[0]) > maxProbeName || len(text[1]) > maxProbeName {
		r.p.add("", "skip a note whose provider or name is longer than %d bytes", maxProbeName)
		return
	}
	s := Site{
		Provider: string(text[0]), Name: string(text[1]), ArgText: string(text[2]),
		Location:  binary.LittleEndian.Uint64(desc),
		Semaphore: binary.LittleEndian.Uint64(desc[16:]),
	}
	// The linker resolved the note; prelink moved the file without touching it.
	// The section, which did move, shows by how much.
	if base := binary.LittleEndian.Uint64(desc[8:]); base != 0 && r.base != 0 {
		s.Location += r.base - base
		if s.Semaphore != 0 {
			s.Semaphore += r.base - base
		}
	}
	if !r.place(&s) {
		return
	}
	if len(s.ArgText) > maxArgText {
		r.p.add(s.probe(), "arguments of %d bytes are left out: more than the limit of %d", len(s.ArgText), maxArgText)
		s.ArgText = ""
	}
	asked := r.table.asked
	var err error
	if s.Args, err = ParseArgs(r.f.arch, s.ArgText, Symbols{Lookup: r.table.want, Fixed: r.f.fixed()}); err != nil {
		r.p.add(s.probe(), "%w", err)
	}
	if r.table.asked != asked {
		r.symbolic = append(r.symbolic, len(r.sites))
	}
	r.sites = append(r.sites, s)
}

// probe returns "provider:name".
func (s *Site) probe() string { return s.Provider + ":" + s.Name }

// place finds the file offsets of a site and the instruction there.
func (r *siteReader) place(s *Site) bool {
	if r.code.dropped(s.Location) {
		return false // nothing is lost with code that is not there
	}
	var ok bool
	executable := func(f elf.ProgFlag) bool { return f&elf.PF_X != 0 }
	if s.Offset, ok = r.f.offset(s.Location, 1, executable); !ok || !r.code.hold(s.Location) {
		r.p.add(s.probe(), "skip a site at %#x: not in executable code of the file", s.Location)
		return false
	}
	if s.Semaphore != 0 {
		data := func(f elf.ProgFlag) bool { return f&elf.PF_X == 0 }
		if s.RefCtr, ok = r.f.offset(s.Semaphore, 2, data); !ok {
			r.p.add(s.probe(), "semaphore at %#x is not in the data of the file: the probe at %#x cannot be enabled",
				s.Semaphore, s.Location)
		}
		s.Shadowed = ok && r.f.shadowed(s.Semaphore, s.RefCtr)
	}
	s.Nop = r.f.nop(s.Offset)
	return true
}

// buildID returns the GNU build id in hex. Segments come first: they survive
// where section headers are stripped.
func buildID(f *image) string {
	for i := range f.segments {
		if s := &f.segments[i]; elf.ProgType(s.Type) == elf.PT_NOTE {
			if id := f.buildIDAt(s.Off, s.Filesz, s.Align); id != "" {
				return id
			}
		}
	}
	for i := range f.sections {
		if s := &f.sections[i]; f.named(s, ".note.gnu.build-id") {
			return f.buildIDAt(s.Off, s.Size, s.Addralign)
		}
	}
	return ""
}

func (f *image) buildIDAt(off, size, align uint64) string {
	if align > 4 {
		return "" // property notes, padded otherwise
	}
	b, err := f.bytes(off, size, maxIDNotes)
	for err == nil && len(b) > 0 {
		var n note
		if n, b, err = nextNote(b); err == nil && n.owner == "GNU" && n.typ == noteBuildID && len(n.desc) <= maxBuildID {
			return hex.EncodeToString(n.desc)
		}
	}
	return ""
}

var (
	nop5   = []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}
	nop10  = []byte{0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00}
	nopARM = []byte{0x1f, 0x20, 0x03, 0xd5}
)

// nop says which instruction is at a file offset.
func (f *image) nop(off uint64) probe.Nop {
	var buf [11]byte
	n := min(uint64(len(buf)), f.size-off)
	got, _ := f.r.ReadAt(buf[:n], int64(off))
	b := buf[:got]
	if f.arch == probe.ARM64 {
		if bytes.HasPrefix(b, nopARM) {
			return probe.NopARM
		}
		return probe.NopNone
	}
	switch {
	case len(b) > 0 && b[0] == 0x90 && bytes.HasPrefix(b[1:], nop10):
		return probe.Nop1Then10
	case len(b) > 0 && b[0] == 0x90:
		return probe.Nop1
	case bytes.HasPrefix(b, nop5):
		return probe.Nop5
	case bytes.HasPrefix(b, nop10):
		return probe.Nop10
	}
	return probe.NopNone
}
