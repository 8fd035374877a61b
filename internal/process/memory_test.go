// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// beforeNothing returns a page of memory, zeroed. The page after it stays reserved
// and cannot be read: it lies beyond the end of its file.
func beforeNothing(t *testing.T) []byte {
	t.Helper()
	size := os.Getpagesize()
	f, err := os.Create(filepath.Join(t.TempDir(), "page"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	pages, err := unix.Mmap(int(f.Fd()), 0, 2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(pages) })
	return pages[:size]
}

func TestMemory(t *testing.T) {
	page := beforeNothing(t)
	p, at := attach(t, os.Getpid()), addressOf(page)+16
	if err := p.WriteMemory([]byte("abc"), at); err != nil || string(page[16:19]) != "abc" {
		t.Errorf("written %q, error %v", page[16:19], err)
	}
	got := make([]byte, 3)
	if err := p.ReadMemory(got, at); err != nil || string(got) != "abc" {
		t.Errorf("read %q, error %v", got, err)
	}
	if err := p.ReadMemory(nil, 0); err != nil {
		t.Errorf("nothing to read: %v", err)
	}
	if err := unix.Mprotect(page, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteMemory([]byte("d"), at); err == nil || page[16] != 'a' {
		t.Errorf("memory that is write-protected is now %q, error %v", page[16], err)
	}
	// The first byte lies in the null page, the second read crosses into nothing.
	for _, at := range []uint64{0, addressOf(page) + uint64(os.Getpagesize()) - 1} {
		if err := p.ReadMemory(make([]byte, 2<<20), at); err == nil {
			t.Errorf("read at %#x: no error", at)
		}
	}
	child := run(t, exec.Command(fixture(t, "fixture")))
	gone := attach(t, child.pid)
	child.end()
	if err := gone.ReadMemory(got, child.marker); !errors.Is(err, ErrNoProcess) {
		t.Errorf("the process has ended: %v", err)
	}
}

func TestWhoMaps(t *testing.T) {
	exe := fixture(t, "fixture")
	first, second := run(t, exec.Command(exe)), run(t, exec.Command(exe))
	other := run(t, exec.Command(fixture(t, "fixture.nopie")))
	_, main := modules(t, attach(t, first.pid))
	pids := WhoMaps(main.Dev, main.Inode)
	for _, p := range []*program{first, second} {
		if !slices.Contains(pids, p.pid) {
			t.Errorf("%v lack %d", pids, p.pid)
		}
	}
	if slices.Contains(pids, other.pid) {
		t.Errorf("%v: %d runs another file", pids, other.pid)
	}
	second.end()
	if pids := WhoMaps(main.Dev, main.Inode); slices.Contains(pids, second.pid) {
		t.Errorf("%v: %d has ended", pids, second.pid)
	}
}

func TestCopies(t *testing.T) {
	code := func(start, offset uint64) Mapping { return Mapping{start, start + 0x1000, offset, "r-xp"} }
	for name, c := range map[string]struct {
		mappings []Mapping
		want     int
	}{
		"none":              {[]Mapping{{0x1000, 0x2000, 0, "r--p"}}, 0},
		"one":               {[]Mapping{{0x1000, 0x2000, 0, "r--p"}, code(0x2000, 0x1000), {0x3000, 0x4000, 0x2000, "rw-p"}}, 1},
		"one, of two parts": {[]Mapping{code(0x2000, 0x1000), code(0x5000, 0x4000)}, 1},
		"two":               {[]Mapping{code(0x2000, 0x1000), code(0x12000, 0x1000)}, 2},
	} {
		if got := (&Module{Mappings: c.mappings}).Copies(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
