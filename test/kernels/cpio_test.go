// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readCPIO is an independent reader of the format: entries as "mode name size
// content".
func readCPIO(t *testing.T, b []byte) []string {
	t.Helper()
	var out []string
	for off := 0; ; {
		h := b[off:]
		if string(h[:6]) != "070701" {
			t.Fatalf("offset %d: no magic: %q", off, h[:6])
		}
		field := func(i int) (n int) {
			if _, err := fmt.Sscanf(string(h[6+8*i:14+8*i]), "%08x", &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		align := func(n int) int { return (n + 3) &^ 3 }
		mode, size, names := field(1), field(6), field(11)
		name := string(h[110 : 110+names-1])
		if name == "TRAILER!!!" {
			return out
		}
		data := off + align(110+names)
		out = append(out, fmt.Sprintf("%o %s %d:%d %q", mode, name, field(9), field(10), b[data:data+size]))
		off = data + align(size)
	}
}

func TestCPIO(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "b", "file"), []byte("five!"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(dir, "a", "b", "link")); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := &cpioWriter{w: &buf}
	w.addDevice("console", 5, 1)
	if err := w.addTree(dir); err != nil {
		t.Fatal(err)
	}
	w.add("memory", 0o755, 3, strings.NewReader("abc"))
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`20600 console 5:1 ""`,
		`40755 a 0:0 ""`,
		`40755 a/b 0:0 ""`,
		`100600 a/b/file 0:0 "five!"`,
		`120777 a/b/link 0:0 "file"`,
		`100755 memory 0:0 "abc"`,
	}
	if d := cmp.Diff(want, readCPIO(t, buf.Bytes())); d != "" {
		t.Error(d)
	}
}

func TestCPIOShortContent(t *testing.T) {
	w := &cpioWriter{w: &bytes.Buffer{}}
	w.add("short", 0o644, 10, strings.NewReader("abc"))
	if err := w.close(); err == nil {
		t.Error("a file shorter than announced: no error")
	}
}
