// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
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

// The three capabilities that the documentation names are enough as those of the
// file, too: a process that has its capabilities from there is not dumpable.
func TestFileCapabilities(t *testing.T) {
	testenv.BPF(t)
	testenv.Require(t, os.Geteuid() == 0, "only root can give a file capabilities")
	features, err := loader.DetectFeatures(testenv.Without(t))
	if err != nil {
		t.Fatal(err)
	}
	capabilities := []int{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE}
	if !features.UprobeMulti { // perf events need it
		capabilities = append(capabilities, unix.CAP_SYS_ADMIN)
	}
	const nobody = 65534
	program := reachable(t, exec.Command(fixture.Build(t, "phases.c"))).Path
	cmd := reachable(t, exec.Command("/proc/self/exe", "run", "--gpu", "off", "--format", "summary", "--", program, "1", "2", "5", "0"))
	cmd.Args[0] = "phasetrace"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	giveCapabilities(t, cmd.Path, capabilities...)
	cmd.Stdin = strings.NewReader("go\n")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "20 boundaries of 20 records") {
		t.Errorf("%v; want 20 boundaries:\n%s", err, out)
	}
}

// giveCapabilities makes capabilities permitted and effective for whoever runs a
// file, as setcap does (struct vfs_cap_data, include/uapi/linux/capability.h).
func giveCapabilities(t *testing.T, path string, capabilities ...int) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		t.Fatal(err)
	}
	testenv.Require(t, fs.Flags&unix.ST_NOSUID == 0, "the folder for temporary files is mounted nosuid")
	var permitted uint64
	for _, c := range capabilities {
		permitted |= 1 << c
	}
	const revision2, effective = 0x02000000, 1
	data := make([]byte, 20) // then inheritable ones: none
	binary.LittleEndian.PutUint32(data, revision2|effective)
	binary.LittleEndian.PutUint32(data[4:], uint32(permitted))
	binary.LittleEndian.PutUint32(data[12:], uint32(permitted>>32))
	if err := unix.Setxattr(path, "security.capability", data, 0); err != nil {
		testenv.Require(t, false, "the file system does not keep capabilities: "+err.Error())
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
