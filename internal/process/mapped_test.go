// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	helpers["mapper"] = func() error {
		f, err := os.Open(os.Getenv("MAPPED"))
		if err != nil {
			return err
		}
		for range 2 {
			if _, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE); err != nil {
				return err
			}
		}
		f.Close()
		os.Stdout.WriteString("mapped\n")
		_, err = os.Stdin.Read(make([]byte, 1))
		return err
	}
}

// Who maps a file is found, whatever becomes of its name; this process, which
// maps it only to know it, is not among them.
func TestMappingsOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, os.Getpagesize()), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := MappingsOf(context.Background(), f); err != nil || len(got) > 0 {
		t.Errorf("nobody maps it: %v, %v", got, err)
	}
	cmd := helper("mapper")
	cmd.Env = append(cmd.Env, "MAPPED="+path)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	got, err := MappingsOf(context.Background(), f)
	if err != nil || len(got) != 2 || slices.ContainsFunc(got, func(m Mapped) bool { return m.PID != cmd.Process.Pid || m.Start == 0 }) {
		t.Errorf("process %d maps it twice: %v, %v", cmd.Process.Pid, got, err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := MappingsOf(over, f); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is over: %v", err)
	}
}
