// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture/hangfs"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// patience bounds waits. It only ends tests that would hang.
const patience = 30 * time.Second

const old = "as it was"

// makeFile makes a file and opens it for reading.
func makeFile(t *testing.T, dir string) *os.File {
	t.Helper()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func newKeeper(t *testing.T) *Keeper {
	t.Helper()
	k := NewKeeper()
	t.Cleanup(k.Close)
	return k
}

// take takes a lease and returns what tells that a writer waits.
func take(t *testing.T, k *Keeper, f *os.File) (*Lease, chan struct{}) {
	t.Helper()
	broken := make(chan struct{})
	l, err := k.Take(f, func() { close(broken) })
	if err != nil {
		t.Fatal(err)
	}
	return l, broken
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not after %v", what, patience)
	}
}

// change is a way in which contents change.
var changes = map[string]func(path string) error{
	"write":    func(path string) error { return os.WriteFile(path, []byte("new"), 0o644) },
	"append":   func(path string) error { return openClose(path, unix.O_WRONLY|unix.O_APPEND) },
	"truncate": func(path string) error { return unix.Truncate(path, 3) },
	"copy": func(path string) error {
		return exec.Command("sh", "-c", `echo new > "$1.new" && cat "$1.new" > "$1"`, "sh", path).Run()
	},
	"map": func(path string) error { return openClose(path, unix.O_RDWR) },
}

func openClose(path string, flags int) error {
	fd, err := unix.Open(path, flags, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, flags, 0)
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// Whoever wants to change a file waits until the lease is given back, and until
// then the file is as it was.
func TestWriterWaits(t *testing.T) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			k, f := newKeeper(t), makeFile(t, t.TempDir())
			l, broken := take(t, k, f)
			changed := make(chan error, 1)
			go func() { changed <- change(f.Name()) }()
			wait(t, "the holder is told", broken)
			if b, err := os.ReadFile(f.Name()); err != nil || string(b) != old {
				t.Errorf("read %q, %v while the lease is held", b, err)
			}
			select {
			case err := <-changed:
				t.Errorf("changed while the lease is held: %v", err)
			default:
			}
			l.Release()
			l.Release()
			if err := <-changed; err != nil {
				t.Error(err)
			}
		})
	}
}

// What does not change the contents does not wait, and nobody is told.
func TestOthersDoNotWait(t *testing.T) {
	k, f := newKeeper(t), makeFile(t, t.TempDir())
	_, broken := take(t, k, f)
	other := filepath.Join(t.TempDir(), "other")
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"read", func() error { _, err := os.ReadFile(f.Name()); return err }},
		{"chmod", func() error { return os.Chmod(f.Name(), 0o755) }},
		{"times", func() error { return os.Chtimes(f.Name(), time.Now(), time.Now()) }},
		{"link", func() error { return os.Link(f.Name(), other) }},
		{"unlink", func() error { return os.Remove(other) }},
		{"rename", func() error { return os.Rename(f.Name(), other) }},
		{"replace", func() error { return os.WriteFile(f.Name(), []byte("new"), 0o644) }},
		{"replace by name", func() error { return os.Rename(f.Name(), other) }},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	k.look()
	select {
	case <-broken:
		t.Error("the holder was told of a writer")
	default:
	}
}

// A writer that does not want to wait fails, and the holder is told.
func TestImpatientWriter(t *testing.T) {
	k, f := newKeeper(t), makeFile(t, t.TempDir())
	_, broken := take(t, k, f)
	if err := openClose(f.Name(), unix.O_WRONLY|unix.O_NONBLOCK); err != unix.EAGAIN {
		t.Errorf("opened for writing: %v, want EAGAIN", err)
	}
	wait(t, "the holder is told", broken)
}

// Many leases: only those that a writer waits for are told.
func TestManyLeases(t *testing.T) {
	k := newKeeper(t)
	const files = 200
	told := make(chan int, files)
	var all []*Lease
	for i := range files {
		l, err := k.Take(makeFile(t, t.TempDir()), func() { told <- i })
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	written := make(chan error)
	for i := 3; i < files; i += 50 {
		go func() { written <- os.WriteFile(all[i].File().Name(), nil, 0o644) }()
	}
	seen := make(map[int]bool)
	for range files / 50 {
		i := <-told
		seen[i] = true
		all[i].Release()
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
	if len(told) > 0 || !seen[3] || !seen[53] || !seen[103] || !seen[153] {
		t.Errorf("told of %v, and %d more", seen, len(told))
	}
}

// A file that is open for writing, or mapped so, cannot be leased.
func TestNoLeaseBesideWriters(t *testing.T) {
	k, f := newKeeper(t), makeFile(t, t.TempDir())
	w, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Take(f, nil); !errors.Is(err, ErrWriter) {
		t.Errorf("beside a writer: %v", err)
	}
	page, err := unix.Mmap(int(w.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := Free(f); !errors.Is(err, ErrWriter) {
		t.Errorf("beside a mapping: %v", err)
	}
	unix.Munmap(page)
	if err := Free(f); err != nil {
		t.Errorf("once nobody writes: %v", err)
	}
}

// Closing gives everything back.
func TestClose(t *testing.T) {
	k, f := NewKeeper(), makeFile(t, t.TempDir())
	l, _ := take(t, k, f)
	k.Close()
	k.Close()
	if err := openClose(f.Name(), unix.O_WRONLY|unix.O_NONBLOCK); err != nil {
		t.Errorf("open for writing: %v", err)
	}
	l.Release()
	if _, err := k.Take(f, nil); err == nil {
		t.Error("a closed keeper took a lease")
	}
}

// A holder that is killed holds up nobody.
func TestHolderKilled(t *testing.T) {
	f := makeFile(t, t.TempDir())
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestHolder$")
	cmd.Env = append(os.Environ(), "PHASETRACE_LEASE="+f.Name())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := openClose(f.Name(), unix.O_WRONLY|unix.O_NONBLOCK); err != unix.EAGAIN {
		t.Errorf("while it is held: %v", err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		if err := openClose(f.Name(), unix.O_WRONLY); err != nil {
			t.Error(err)
		}
	}()
	cmd.Process.Kill()
	cmd.Wait()
	wait(t, "the file is opened for writing", written)
}

// TestHolder is the process that TestHolderKilled kills.
func TestHolder(t *testing.T) {
	path := os.Getenv("PHASETRACE_LEASE")
	if path == "" {
		return // one of the tests, and nothing to test by itself
	}
	take(t, newKeeper(t), open(t, path))
	fmt.Println("held")
	select {}
}

// File systems that have leases, mounted for the test.
func TestFileSystems(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "mounting needs root")
	lower := t.TempDir()
	makeFile(t, lower)
	for name, mount := range map[string]func(dir string) error{
		"tmpfs": func(dir string) error {
			if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
				return err
			}
			return os.WriteFile(dir+"/file", []byte(old), 0o644)
		},
		"overlay, lower": func(dir string) error { return overlay(t, dir, lower) },
		"overlay, upper": func(dir string) error {
			if err := overlay(t, dir, lower); err != nil {
				return err
			}
			return os.WriteFile(dir+"/file", []byte(old), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := mount(dir); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			k := newKeeper(t)
			f := open(t, dir+"/file")
			l, broken := take(t, k, f)
			written := make(chan error)
			go func() { written <- os.WriteFile(f.Name(), []byte("new"), 0o644) }()
			wait(t, "the holder is told", broken)
			if b, err := os.ReadFile(f.Name()); err != nil || string(b) != old {
				t.Errorf("read %q, %v while the lease is held", b, err)
			}
			l.Release()
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}

func overlay(t *testing.T, dir, lower string) error {
	return unix.Mount("none", dir, "overlay", 0,
		strings.Join([]string{"lowerdir=" + lower, "upperdir=" + t.TempDir(), "workdir=" + t.TempDir()}, ","))
}

// A file system served by a program can change its files unasked.
func TestNoLeaseOnFUSE(t *testing.T) {
	fs := hangfs.Mount(t, map[string][]byte{"file": []byte(old)})
	f := open(t, fs.Dir+"/file")
	if _, err := newKeeper(t).Take(f, nil); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "FUSE") {
		t.Errorf("a lease on FUSE: %v", err)
	}
	fs.Hang(hangfs.All)
	defer fs.Answer()
	if err := Free(f); !errors.Is(err, ErrUnsupported) {
		t.Errorf("while it does not answer: %v", err)
	}
}

// What cannot be kept is watched: a writer is told of, once.
func TestWatch(t *testing.T) {
	for name, change := range changes {
		if name == "append" {
			continue // opens it and writes nothing
		}
		t.Run(name, func(t *testing.T) {
			w, err := NewWatcher()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			f := makeFile(t, t.TempDir())
			changed := make(chan struct{})
			if _, err := w.Watch(f, func() { close(changed) }); err != nil {
				t.Fatal(err)
			}
			if _, err := os.ReadFile(f.Name()); err != nil {
				t.Fatal(err)
			}
			if err := change(f.Name()); err != nil {
				t.Fatal(err)
			}
			wait(t, "the watcher tells", changed)
			if err := change(f.Name()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A watch that has been stopped tells of nothing, and others go on.
func TestWatchStopped(t *testing.T) {
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f, g := makeFile(t, t.TempDir()), makeFile(t, t.TempDir())
	stop, err := w.Watch(f, func() { t.Error("told after the stop") })
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{})
	if _, err := w.Watch(g, func() { close(changed) }); err != nil {
		t.Fatal(err)
	}
	stop()
	stop()
	for _, f := range []*os.File{f, g} {
		if err := os.WriteFile(f.Name(), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "the watcher tells", changed)
}
