// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// markerSites plans our markers of a file as a session does: at an enter the
// token, rank, name and attributes, at an exit the token.
func markerSites(path string) ([]loader.Site, error) {
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
	var out []loader.Site
	for _, in := range elf.Sites {
		s := loader.Site{
			ID: uint32(len(out)), Arch: elf.Arch, Location: in.Location, Offset: in.Offset, RefCtr: in.RefCtr,
			Role: loader.Exit, Captures: []loader.Capture{{Arg: in.Args[0], Type: loader.CaptureInt}},
		}
		if in.Name == "enter" {
			s.Role = loader.Enter
			s.Captures = append(s.Captures,
				loader.Capture{Arg: in.Args[3], Type: loader.CaptureInt},
				loader.Capture{Arg: in.Args[1], Type: loader.CaptureStr, Max: 255},
				loader.Capture{Arg: in.Args[2], Type: loader.CaptureStr, Max: 1022})
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no markers", path)
	}
	return out, nil
}
