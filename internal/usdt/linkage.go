// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"debug/elf"
	"encoding/binary"
	"strings"
)

// Bounds of the dynamic section.
const (
	maxDynamic   = 64 << 10 // bytes
	maxLibraries = 1024
)

// pageSize is the smallest page of the supported architectures, in bytes.
const pageSize = 4096

// dynamic is what we need of a dynamic section.
type dynamic struct {
	strtab, flags1, init    uint64
	needed                  []uint64 // offsets into the string table
	soname, rpath, runpath  uint64
	hasSoname, hasR, hasRun bool
}

// addConstant adds a segment, in the order of addresses. Segments with no page
// between them are one range: what lies between is mapped with one of them.
func (f *File) addConstant(r Range) {
	if n := len(f.Constant); n > 0 {
		last := &f.Constant[n-1]
		if r.Start >= last.End && r.Start/pageSize <= (last.End-1)/pageSize+1 {
			last.End = r.End
			return
		}
	}
	f.Constant = append(f.Constant, r)
}

// readLinkage fills in how a file is loaded and what it needs.
func readLinkage(im *image, f *File, p *problems) {
	var d dynamic
	for i := range im.segments {
		s := &im.segments[i]
		switch elf.ProgType(s.Type) {
		case elf.PT_INTERP:
			if path, ok := im.cstring(s.Off); ok {
				f.Interp = path
			}
		case elf.PT_LOAD:
			if s.Filesz > 0 && s.Vaddr+s.Filesz > s.Vaddr {
				f.Segments = append(f.Segments, Segment{
					Range: Range{s.Vaddr, s.Vaddr + s.Filesz}, Offset: s.Off, Writable: elf.ProgFlag(s.Flags)&elf.PF_W != 0,
				})
			}
			if elf.ProgFlag(s.Flags)&elf.PF_W == 0 && s.Filesz > 0 && s.Vaddr+s.Filesz > s.Vaddr {
				f.addConstant(Range{s.Vaddr, s.Vaddr + s.Filesz})
			}
		case elf.PT_DYNAMIC:
			b, err := im.bytes(s.Off, s.Filesz, maxDynamic)
			if err != nil {
				p.add("", "read dynamic section: %w", err)
				continue
			}
			d = parseDynamic(b)
		}
	}
	str := func(off uint64) string {
		at, ok := im.offset(d.strtab+off, 1, func(elf.ProgFlag) bool { return true })
		if !ok {
			return ""
		}
		s, _ := im.cstring(at)
		return s
	}
	for _, off := range d.needed {
		if name := str(off); name != "" {
			f.Needed = append(f.Needed, name)
		}
	}
	if d.hasSoname {
		f.Soname = str(d.soname)
	}
	if d.hasR {
		f.RPath = splitPath(str(d.rpath))
	}
	if d.hasRun {
		f.RunPath = splitPath(str(d.runpath))
	}
	// Linkers before binutils 2.26 do not set the flag; a program then shows by
	// having an interpreter and no soname.
	f.PIE = !im.fixed() && (elf.DynFlag1(d.flags1)&elf.DF_1_PIE != 0 || f.Interp != "" && !d.hasSoname)
	f.Shared = !im.fixed() && !f.PIE
	f.Static = !f.Shared && f.Interp == ""
	f.Start = im.start(f, d.init)
}

func parseDynamic(b []byte) (d dynamic) {
	for ; len(b) >= 16; b = b[16:] {
		v := binary.LittleEndian.Uint64(b[8:])
		switch elf.DynTag(binary.LittleEndian.Uint64(b)) {
		case elf.DT_NULL:
			return d
		case elf.DT_STRTAB:
			d.strtab = v
		case elf.DT_INIT:
			d.init = v
		case elf.DT_FLAGS_1:
			d.flags1 = v
		case elf.DT_SONAME:
			d.soname, d.hasSoname = v, true
		case elf.DT_RPATH:
			d.rpath, d.hasR = v, true
		case elf.DT_RUNPATH:
			d.runpath, d.hasRun = v, true
		case elf.DT_NEEDED:
			if len(d.needed) < maxLibraries {
				d.needed = append(d.needed, v)
			}
		}
	}
	return d
}

// splitPath splits a search path. An empty part is one: the working directory.
func splitPath(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ":")
}
