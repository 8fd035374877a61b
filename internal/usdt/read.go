// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"fmt"
	"io"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// Read reads the probes of an ELF file of size bytes. It reads the headers,
// the notes, the first bytes of each site, and the symbol tables only where
// an operand names a symbol; debug information is never touched.
//
// It fails with an error that wraps ErrNotELF or ErrUnsupportedELF for other
// files, and with the cause when the headers cannot be read. A file without
// probes is no error. Whatever the bytes, Read does not panic, and it takes
// no more than about a second and 100 MB.
func Read(r io.ReaderAt, size int64) (file *File, err error) {
	// A second line of defence: a tracer must survive a crafted file even if
	// a check here is wrong.
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, fmt.Errorf("read ELF file: malformed in a way that was not foreseen (%v); please report it", p)
		}
	}()
	im, err := openImage(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{Arch: im.arch}
	var p problems
	readLinkage(im, f, &p)
	f.BuildID = buildID(im)
	table := symbolTable{wanted: map[string]*symbol{}}
	sites, again := readSites(im, &table, &p)
	f.Sites = sites
	if len(again) > 0 {
		table.load(im)
		resolveSymbols(im, sites, again, &table)
	}
	f.Problems = p.list()
	return f, nil
}

// maxProblems bounds what is kept of a file's defects.
const maxProblems = 100

// problems collects defects, bounded.
type problems struct {
	kept []Problem
	more int
}

func (p *problems) add(probe, format string, args ...any) {
	if len(p.kept) >= maxProblems {
		p.more++
		return
	}
	p.kept = append(p.kept, Problem{Probe: probe, Err: fmt.Errorf(format, args...)})
}

func (p *problems) list() []Problem {
	if p.more > 0 {
		return append(p.kept, Problem{Err: fmt.Errorf("%d further problems are not listed", p.more)})
	}
	return p.kept
}

// resolveSymbols decodes once more the arguments that failed at some sites,
// now that the symbols they may name are known.
func resolveSymbols(im *image, sites []Site, which []int, table *symbolTable) {
	symbols := Symbols{Lookup: table.lookup, Fixed: im.fixed()}
	for _, i := range which {
		for j := range sites[i].Args {
			a := &sites[i].Args[j]
			if a.Err == nil {
				continue
			}
			*a = parseArg(im.arch, a.Text, symbols)
			if a.Kind == probe.OperandSym && !im.mapped(a.Addr, uint64(a.Size)) {
				*a = unsupported(a, errOutside)
			}
		}
	}
}
