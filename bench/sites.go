// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// markerSites plans our markers of a file as a session does: at an enter the
// token, rank, name and attributes, at an exit the token.
func markerSites(path string) ([]probe.Site, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	elf, err := usdt.Read(f, info.Size())
	if err != nil {
		return nil, err
	}
	constant, err := constantOf(path, elf)
	if err != nil {
		return nil, err
	}
	var out []probe.Site
	nops := loader.NopRewriting()
	for _, in := range elf.Sites {
		at, _ := nops.Place(in.Offset, in.Nop)
		s := probe.Site{
			ID: uint32(len(out)), Arch: elf.Arch, Location: in.Location + (at - in.Offset), Offset: at, RefCtr: in.RefCtr,
			Constant: constant,
			Effect:   probe.Exit, Captures: []probe.Capture{{Operand: in.Args[0], Type: probe.CaptureInt}},
		}
		if in.Name == "enter" {
			s.Effect = probe.Enter
			s.Captures = append(s.Captures,
				probe.Capture{Operand: in.Args[3], Type: probe.CaptureInt},
				probe.Capture{Operand: in.Args[1], Type: probe.CaptureStr, Max: 255},
				probe.Capture{Operand: in.Args[2], Type: probe.CaptureStr, Max: 1022})
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no markers", path)
	}
	return out, nil
}

// constantOf is the memory of a program in which names are not copied. Nobody writes
// to a file that the benchmark has built.
func constantOf(path string, elf *usdt.File) (*probe.Constant, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pages := elf.ConstantPages()
	return &probe.Constant{Start: pages.Start, End: pages.End, Read: func(b []byte, addr uint64) (int, error) {
		offset, left, ok := elf.FileOffset(addr)
		if !ok {
			return 0, io.EOF
		}
		return copy(b, content[offset:offset+left]), nil
	}}, nil
}
