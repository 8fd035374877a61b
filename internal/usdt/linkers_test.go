// SPDX-License-Identifier: Apache-2.0

package usdt_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// linked builds a fixture with a linker, whose package is named for the user.
func linked(t *testing.T, linker, source string, flags ...string) (string, *usdt.File) {
	t.Helper()
	_, err := exec.LookPath("ld." + linker)
	testenv.Require(t, err == nil, "no ld."+linker+": install "+linker)
	path := fixture.Build(t, source, append([]string{"-fuse-ld=" + linker}, flags...)...)
	return path, read(t, path)
}

func read(t *testing.T, path string) *usdt.File {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := usdt.Read(r, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func openELF(t *testing.T, path string) *elf.File {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

var (
	library  = []string{"-shared", "-fPIC"}
	linkings = []struct {
		name, source string
		flags        []string
	}{
		{"program", "phases.c", nil},
		{"static program", "phases.c", []string{"-static"}},
		{"program at its address", "phases.c", []string{"-fno-pie", "-no-pie"}},
		{"library", "libphase.c", library},
	}
)

// mappedFirst says, from the program headers and by hand, whether the first
// writable mapping of a file page is not the one at an address.
func mappedFirst(f *elf.File, address, offset uint64) bool {
	page := uint64(4096)
	for _, p := range f.Progs { // in the order of addresses
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_W == 0 {
			continue
		}
		for at := p.Off &^ (page - 1); at < p.Off+p.Filesz; at += page {
			if at == offset&^(page-1) {
				return address < p.Vaddr || address >= p.Vaddr+p.Memsz
			}
		}
	}
	return false
}

// Each linker's layout is seen for what it is: what lld and mold do by default
// puts the semaphores' page into two segments, and no more when they are told
// to keep segments apart.
func TestSemaphoresOfEachLinker(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("reckons with the page size of amd64")
	}
	const apart = "-Wl,-z,separate-loadable-segments"
	for _, linker := range []string{"bfd", "gold", "lld", "mold"} {
		t.Run(linker, func(t *testing.T) {
			shadowed := 0
			for _, l := range linkings {
				path, f := linked(t, linker, l.source, l.flags...)
				file := openELF(t, path)
				for _, s := range f.Sites {
					if want := mappedFirst(file, s.Semaphore, s.RefCtr); s.Semaphore != 0 && s.Shadowed != want {
						t.Errorf("%s: %s:%s: shadowed %v, want %v", l.name, s.Provider, s.Name, s.Shadowed, want)
					}
					if s.Shadowed {
						shadowed++
					}
				}
			}
			twice := linker == "lld" || linker == "mold"
			if (shadowed > 0) != twice {
				t.Errorf("%d sites are shadowed", shadowed)
			}
			if !twice {
				return
			}
			_, f := linked(t, linker, "phases.c", apart)
			for _, s := range f.Sites {
				if s.Shadowed || s.RefCtr == 0 {
					t.Errorf("with %s: %+v", apart, s)
				}
			}
		})
	}
}

// What runs before a file's own code, by debug/elf.
func TestStart(t *testing.T) {
	for _, l := range linkings {
		path := fixture.Build(t, l.source, l.flags...)
		f, file := read(t, path), openELF(t, path)
		want := file.Entry
		switch l.name {
		case "library":
			values, err := file.DynValue(elf.DT_INIT)
			if err != nil || len(values) != 1 {
				t.Fatalf("%s: DT_INIT %v, error %v", l.name, values, err)
			}
			want = values[0]
		case "static program":
			want = file.Section(".init").Addr
		}
		if got := address(file, f.Start); got != want || want == 0 {
			t.Errorf("%s: starts at %#x, want %#x", l.name, got, want)
		}
	}
	if f := read(t, fixture.Build(t, "libphase.c", "-shared", "-fPIC", "-nostartfiles")); f.Start != 0 {
		t.Errorf("a library without an initialiser starts at %#x", f.Start)
	}
}

// address returns where a file offset of code is mapped.
func address(f *elf.File, offset uint64) uint64 {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && offset >= p.Off && offset < p.Off+p.Filesz {
			return offset - p.Off + p.Vaddr
		}
	}
	return 0
}

// A function that --gc-sections drops leaves its notes behind with lld and
// mold. They are no probes, not even where a segment of code begins with the
// ELF header, which lies at the addresses that they then name.
func TestNotesOfDroppedFunctions(t *testing.T) {
	whole := len(read(t, fixture.Build(t, "dropped.c", "-ffunction-sections")).Sites)
	for _, how := range [][]string{
		{"lld", "-Wl,--rosegment"}, {"lld", "-Wl,--no-rosegment"},
		{"mold", "-Wl,-z,separate-code"}, {"mold", "-Wl,-z,noseparate-code"},
	} {
		linker, more := how[0], how[1]
		t.Run(linker+" "+strings.TrimPrefix(more, "-Wl,"), func(t *testing.T) {
			path, f := linked(t, linker, "dropped.c", "-ffunction-sections", "-Wl,--gc-sections", more)
			text := openELF(t, path).Section(".text")
			for _, s := range f.Sites {
				if s.Location < text.Addr || s.Location >= text.Addr+text.Size {
					t.Errorf("%s:%s at %#x: .text is from %#x to %#x", s.Provider, s.Name, s.Location, text.Addr, text.Addr+text.Size)
				}
			}
			if len(f.Sites) != whole/2 || len(f.Problems) != 0 {
				t.Errorf("%d sites, want %d; problems %v", len(f.Sites), whole/2, f.Problems)
			}
		})
	}
}
