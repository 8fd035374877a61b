// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Files without sites are remembered up to a bound, files with sites for good.
func TestFilesRemembered(t *testing.T) {
	var fs files
	marked := fileKey{ino: 1}
	fs.remember(&file{key: marked, elf: &usdt.File{Sites: make([]usdt.Site, 1)}})
	for i := range uint64(3*maxPlain + 5) {
		fs.remember(&file{key: fileKey{ino: 2 + i}, elf: &usdt.File{}})
		if len(fs.known) > maxPlain+1 {
			t.Fatalf("%d files remembered after %d", len(fs.known), i+1)
		}
	}
	if fs.known[marked] == nil {
		t.Error("the file with sites was forgotten")
	}
}

// A file keeps its name when it is moved, and has another id when it is written to;
// another file in its place has another name.
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
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a", "one")
	first := identity("a")
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	moved := identity("b")
	if moved.fileKey != first.fileKey || moved.size != first.size {
		t.Errorf("moved: %+v, was %+v", moved, first)
	}
	write("b", "three")
	if got := identity("b"); got.fileKey != first.fileKey || got == moved {
		t.Errorf("written to: %+v, was %+v", got, moved)
	}
	write("a", "one")
	if got := identity("a"); got.fileKey == first.fileKey {
		t.Errorf("another file has the same name %+v", got)
	}
}

// Each warning is reported once, up to a bound, and counted beyond it.
func TestWarningsAreBounded(t *testing.T) {
	var w warnings
	for i := range maxWarnings + 10 {
		w.add(fmt.Sprint("file ", i), "file 0")
	}
	if n := len(w.fresh()); n != maxWarnings || w.beyond != 10 || len(w.fresh()) != 0 {
		t.Errorf("%d warnings told, %d counted; want %d and 10", n, w.beyond, maxWarnings)
	}
}
