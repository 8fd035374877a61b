// SPDX-License-Identifier: Apache-2.0

package session

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Files without sites are remembered up to a bound, files with sites for good.
func TestFilesRemembered(t *testing.T) {
	var fs files
	marked := fileID{ino: 1}
	fs.remember(&file{id: marked, elf: &usdt.File{Sites: make([]usdt.Site, 1)}})
	for i := range uint64(3*maxPlain + 5) {
		fs.remember(&file{id: fileID{ino: 2 + i}, elf: &usdt.File{}})
		if len(fs.known) > maxPlain+1 {
			t.Fatalf("%d files remembered after %d", len(fs.known), i+1)
		}
	}
	if fs.known[marked] == nil {
		t.Error("the file with sites was forgotten")
	}
}

// A file keeps its name when it is moved; another in its place has another.
func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	identity := func(name string) fileID {
		t.Helper()
		h, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		id, err := identify(h)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	first := identity("a")
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if got := identity("b"); got != first {
		t.Errorf("moved: %+v, was %+v", got, first)
	}
	write("a")
	if got := identity("a"); got == first {
		t.Errorf("another file has the same name %+v", got)
	}
}

// A file that has a dynamic linker's name and headers without end is refused
// before anything is taken for it.
func TestHostileLinker(t *testing.T) {
	write := func(size int64, sections uint16) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), "ld-evil.so"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		h := elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Phentsize: 56,
			Shentsize: 64, Shoff: 64, Shnum: sections, Shstrndx: 1,
		}
		if err := errors.Join(binary.Write(f, binary.LittleEndian, h), f.Truncate(size)); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		size     int64
		sections uint16
	}{{1 << 40, 10}, {14 << 20, 65279}, {1 << 20, 65}, {1 << 20, 0}, {10, 0}} {
		if _, err := readLinker(write(c.size, c.sections)); err == nil {
			t.Errorf("%d bytes with %d sections were read", c.size, c.sections)
		}
	}
}

// Warnings are told once each, up to a bound, and counted beyond it.
func TestWarningsAreBounded(t *testing.T) {
	var w warnings
	for i := range maxWarnings + 10 {
		w.add(fmt.Sprint("file ", i), "file 0")
	}
	if n := len(w.fresh()); n != maxWarnings || w.beyond != 10 || len(w.fresh()) != 0 {
		t.Errorf("%d warnings told, %d counted; want %d and 10", n, w.beyond, maxWarnings)
	}
}
