// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
)

// Functions are places of code in an ELF file, as file offsets.
type Functions struct {
	Entry uint64            // of the entry point; 0 if the file has none
	Named map[string]uint64 // of the requested functions that exist
	// Addresses are those of the requested symbols that exist, of functions and of
	// data, before the load bias.
	Addresses map[string]uint64
}

// FindFunctions looks for functions, and data, by name in the symbol tables of an
// ELF file, and for its entry point. A name that stands for several does not
// count. Like [Read] it is bounded, and fails in the same cases.
func FindFunctions(r io.ReaderAt, size int64, names ...string) (f Functions, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read ELF file: malformed in a way that was not foreseen (%v); please report it", p)
		}
	}()
	im, err := openImage(r, size)
	if err != nil {
		return f, err
	}
	code := func(flags elf.ProgFlag) bool { return flags&elf.PF_X != 0 }
	f.Entry, _ = im.offset(im.header.Entry, 1, code)
	table := symbolTable{wanted: make(map[string]*symbol)}
	for _, name := range names {
		_, _ = table.want(name)
	}
	table.load(im)
	f.Named, f.Addresses = make(map[string]uint64), make(map[string]uint64)
	for name, s := range table.wanted {
		if !s.found || s.ambiguous {
			continue
		}
		f.Addresses[name] = s.addr
		if at, ok := im.offset(s.addr, 1, code); ok {
			f.Named[name] = at
		}
	}
	return f, nil
}

// maxText bounds the constants that are searched for a text, in bytes.
const maxText = 64 << 20

// HasText reports whether the constants of an ELF program contain a text. It
// searches the first maxText bytes.
func HasText(r io.ReaderAt, size int64, text string) (bool, error) {
	im, err := openImage(r, size)
	if err != nil {
		return false, err
	}
	left := uint64(maxText)
	for i := range im.segments {
		p := &im.segments[i]
		if elf.ProgType(p.Type) != elf.PT_LOAD || elf.ProgFlag(p.Flags)&elf.PF_W != 0 {
			continue
		}
		n := min(p.Filesz, left)
		left -= n
		if has, err := im.contains(p.Off, n, text); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// contains searches n bytes at an offset.
func (f *image) contains(off, n uint64, text string) (bool, error) {
	const chunk = 1 << 20
	overlap := uint64(len(text) - 1)
	var b []byte
	for at := uint64(0); at < n; at += chunk {
		var err error
		if b, err = f.bytesInto(b, off+at, min(chunk+overlap, n-at), chunk+overlap); err != nil {
			return false, fmt.Errorf("search the file: %w", err)
		}
		if bytes.Contains(b, []byte(text)) {
			return true, nil
		}
	}
	return false, nil
}
