// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
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

// What is known of a file holds for as long as its id tells of changes.
func TestContentsChangedInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	fixture.Overwrite(t, path, versions(t, false, fixture.Versions[0])[0])
	var fs files
	read := func() *file {
		t.Helper()
		f, err := fs.read(path, func() (*os.File, error) { return os.Open(path) })
		if err != nil {
			t.Fatal(err)
		}
		f.handle.Close()
		return f.file
	}
	known := func(f *file) bool { return fs.find(f.id) == f }
	first := read()
	if first.settled || known(first) {
		t.Error("a file that was written just now could be written again without another id")
	}
	if read() != first {
		t.Error("the same contents are another file")
	}
	first.settled = true // as it is two seconds later
	if !known(first) {
		t.Error("a file that was read is not known")
	}
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	h, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, settled, err := identifySettled(h); settled || err != nil {
		t.Errorf("a file that is open for writing is settled: %v, %v", settled, err)
	}
	fixture.Overwrite(t, path, versions(t, false, fixture.Versions[1])[0])
	if second := read(); second == first || known(first) {
		t.Error("other contents are the same file")
	}
}
