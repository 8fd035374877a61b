// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/phasetrace/phasetrace/internal/testenv"
)

// silent drops every message.
func silent(string) {}

func create(t *testing.T, path string) *File {
	t.Helper()
	f, err := Create(t.Context(), path, silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.file.Close() })
	return f
}

func TestNewFileIsPrivate(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "out")
	f := create(t, path)
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 || info.Size() != 1 {
		t.Errorf("mode %v, %d bytes, want -rw------- and 1", info.Mode(), info.Size())
	}
	if f.IsTerminal() || f.stdout || f.Name() != path {
		t.Error("a file passes for something else")
	}
}

func TestExistingFileIsEmptiedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("old contents"), 0o640); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := create(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if after.Size() != 0 || after.Mode() != before.Mode() || !os.SameFile(before, after) {
		t.Errorf("%d bytes, mode %v, want an empty file of mode %v", after.Size(), after.Mode(), before.Mode())
	}
}

func TestSudoGivesTheFileAway(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "only root can give a file away")
	t.Setenv("SUDO_UID", "12345")
	t.Setenv("SUDO_GID", "23456")
	path := filepath.Join(t.TempDir(), "out")
	create(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Uid != 12345 || st.Gid != 23456 || info.Mode() != 0o600 {
		t.Errorf("owner %d:%d, mode %v", st.Uid, st.Gid, info.Mode())
	}
}

func TestInvoker(t *testing.T) {
	for _, test := range []struct {
		euid     int
		uid, gid string
		want     user
	}{
		{0, "7", "8", user{0, 7, 8, true}},
		{0, "7", "", user{0, 7, -1, true}},
		{0, "", "", user{0, 0, -1, false}},
		{0, "-1", "0", user{0, 0, -1, false}},
		{0, "4294967295", "0", user{0, 0, -1, false}},
		{0, "root", "0", user{0, 0, -1, false}},
		{7, "9", "9", user{7, 7, -1, false}},
	} {
		env := map[string]string{"SUDO_UID": test.uid, "SUDO_GID": test.gid}
		if got := invoker(test.euid, func(k string) string { return env[k] }); got != test.want {
			t.Errorf("invoker of %+v is %+v", test, got)
		}
	}
}

func TestLinks(t *testing.T) {
	private, public := t.TempDir(), t.TempDir()
	if err := os.Chmod(private, 0o755); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	if err := os.Chmod(public, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(private, "target")
	link := func(dir, to string) string {
		path := filepath.Join(dir, "link")
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if f := create(t, link(private, "target")); f.Name() != filepath.Join(private, "link") {
		t.Errorf("name %s", f.Name())
	}
	if info, err := os.Stat(target); err != nil || info.Mode() != 0o600 {
		t.Errorf("the link's target: %v, %v", info, err)
	}
	create(t, filepath.Join(private, "link")) // again, now that it exists

	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), link(public, target), silent); !errors.Is(err, errForeignLink) {
		t.Errorf("link in a public directory: %v", err)
	}
	if contents, err := os.ReadFile(target); err != nil || string(contents) != "precious" {
		t.Errorf("the target has %q (%v)", contents, err)
	}
}

func TestForeignFile(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "only root can make another user's file")
	public := t.TempDir()
	if err := os.Chmod(public, 0o777); err != nil { // not sticky: the kernel itself would refuse
		t.Fatal(err)
	}
	path := filepath.Join(public, "out")
	if err := os.WriteFile(path, []byte("bait"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), path, silent); !errors.Is(err, errForeignFile) {
		t.Errorf("another user's file: %v", err)
	}
	t.Setenv("SUDO_UID", "12345")
	create(t, path)
}

func TestDevices(t *testing.T) {
	for _, path := range []string{"/dev/null", "/dev/stdout", "/dev/fd/1"} {
		create(t, path)
	}
}

func TestStdout(t *testing.T) {
	f, err := Create(t.Context(), Stdout, silent) // not create, which closes it
	if err != nil {
		t.Fatal(err)
	}
	if !f.stdout || f.Name() != "standard output" || f.file != os.Stdout {
		t.Errorf("%+v", f)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stdout.Stat(); err != nil {
		t.Errorf("standard output was closed: %v", err)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, want string }{
		{dir, "is a directory: name a file in it"},
		{filepath.Join(dir, "none", "out"), "create the directory first"},
		{filepath.Join(plain, "out"), "name a directory there"},
		{filepath.Join(dir, strings.Repeat("x", 300)), "choose a shorter name"},
		{"", "create the directory first"},
	} {
		_, err := Create(t.Context(), test.path, silent)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want %q", test.path, err, test.want)
		}
	}
}

// A session that does not begin leaves an existing file as it was and no new
// one behind.
func TestAbandon(t *testing.T) {
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "old"), filepath.Join(dir, "fresh")
	if err := os.WriteFile(old, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{old, fresh} {
		f, err := Create(t.Context(), path, silent)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Abandon(); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(old); err != nil || string(b) != "kept" {
		t.Errorf("the old file holds %q (%v), want what it held", b, err)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("an empty file was left behind")
	}
}
