// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Without privileges one line names the capability that is missing, for a
// process of another user and for one's own.
func TestUnprivileged(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "only root can become another user")
	const nobody = 65534
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	program := fixture.Build(t, "phases.c")

	own := exec.Command(program, "1", "1", "1", "0")
	own.SysProcAttr = &syscall.SysProcAttr{Credential: as.Credential}
	for _, c := range []struct {
		name string
		proc *fixture.Proc
		want string
	}{
		{"another user's process", fixture.Start(t, program, "1", "1", "1", "0"), "CAP_SYS_PTRACE"},
		{"the user's own process", fixture.StartCmd(t, reachable(t, own)), "CAP_BPF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.proc.Expect("ready")
			// The link leads to this program whatever folders lie before it.
			cmd := exec.Command("/proc/self/exe", "-p", strconv.Itoa(c.proc.Pid()), "--gpu", "off")
			cmd.Args[0] = "phasetrace"
			cmd.SysProcAttr = as
			cmd.Dir = "/"
			var stderr strings.Builder
			cmd.Stderr = &stderr
			err := cmd.Run()
			if cmd.ProcessState.ExitCode() != statusFailed {
				t.Errorf("exit status %v, want %d", err, statusFailed)
			}
			if !strings.Contains(stderr.String(), c.want) || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("standard error %q, want one line that names %s", &stderr, c.want)
			}
			c.proc.WriteLine("go")
			c.proc.ReadAll()
			c.proc.WaitOK()
		})
	}
}

// reachable puts the command's program where another user can execute it.
func reachable(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	dir, err := os.MkdirTemp("", "pt-open-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, err := os.ReadFile(cmd.Path)
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(dir+"/program", data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Dir = dir+"/program", "/"
	return cmd
}
