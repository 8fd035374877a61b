// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// A phasetrace whose file has the capabilities that docs/doctor.md names traces
// root's process for an ordinary user, and doctor says that it can.
func TestFileCapabilities(t *testing.T) {
	testenv.BPF(t)
	testenv.Require(t, os.Geteuid() == 0, "only root can give a file capabilities")
	features, err := loader.DetectFeatures(testenv.Without(t))
	if err != nil {
		t.Fatal(err)
	}
	has := []cap.Value{cap.BPF, cap.PERFMON, cap.SYS_PTRACE}
	if !features.UprobeMulti {
		has = append(has, cap.SYS_ADMIN)
	}
	self := withCapabilities(t, has...)
	p := fixture.StartCmd(t, reachable(t, exec.Command(fixture.Build(t, "phases.c"), "1", "3", "1", "0")))
	p.Expect("ready")
	for _, args := range [][]string{
		{"doctor"},
		{"-p", strconv.Itoa(p.Pid()), "--gpu", "off", "--format", "summary"},
	} {
		cmd := exec.Command(self, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
		var out bytes.Buffer
		cmd.Stdout = &out
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := readUntil(stderr, "attached to")
		if args[0] != "doctor" {
			p.WriteLine("go")
			p.ReadAll()
			p.WaitOK()
		}
		rest, _ := io.ReadAll(stderr)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v: %s%s%s", args, err, said, rest, &out)
		}
		if args[0] != "doctor" && !strings.Contains(out.String(), "6 boundaries of 6 records") {
			t.Errorf("%v: %s", args, &out)
		}
	}
}

// readUntil reads up to a text, or to the end.
func readUntil(r io.Reader, text string) string {
	var all strings.Builder
	for one := make([]byte, 1); !strings.Contains(all.String(), text); {
		if _, err := io.ReadFull(r, one); err != nil {
			break
		}
		all.Write(one)
	}
	return all.String()
}

// withCapabilities returns a copy of this program whose file has capabilities, where
// every user can run it.
func withCapabilities(t *testing.T, values ...cap.Value) string {
	t.Helper()
	cmd := reachable(t, exec.Command("/proc/self/exe"))
	path := filepath.Join(filepath.Dir(cmd.Path), "phasetrace") // which TestMain goes by
	if err := os.Rename(cmd.Path, path); err != nil {
		t.Fatal(err)
	}
	set := cap.NewSet()
	for _, flag := range []cap.Flag{cap.Permitted, cap.Effective} {
		if err := set.SetFlag(flag, true, values...); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.SetFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}
