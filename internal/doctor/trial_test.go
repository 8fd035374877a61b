// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// childEnv makes the test binary examine the machine, and the process that the
// variable names, and print the report.
const childEnv = "PHASETRACE_TEST_DOCTOR"

func TestMain(m *testing.M) {
	if value, ok := os.LookupEnv(childEnv); ok {
		pid, _ := strconv.Atoi(value)
		if err := WriteJSON(os.Stdout, Examine(Options{PID: pid})); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func find(t *testing.T, r *Report, name string) Check {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %s in %+v", name, r.Checks)
	}
	return r.Checks[i]
}

// Where BPF programs can be loaded, everything that tracing needs is found to
// work, by whichever way this kernel has.
func TestThisMachine(t *testing.T) {
	testenv.BPF(t)
	r := Examine(Options{})
	if !r.Works {
		t.Errorf("broken: %+v", r.Broken())
	}
	features, err := loader.DetectFeatures(loader.Without{})
	if err != nil {
		t.Fatal(err)
	}
	if got := find(t, r, "uprobe_multi").Result == OK; got != features.UprobeMulti {
		t.Errorf("uprobe_multi: %v, the loader says %v", got, features.UprobeMulti)
	}
	if got := find(t, r, "sleepable").Result == OK; got != features.Sleepable {
		t.Errorf("sleepable: %v, the loader says %v", got, features.Sleepable)
	}
	if err := tryMarker(false); err != nil {
		t.Errorf("perf events: %v", err)
	}
}

func TestOwnMarker(t *testing.T) {
	offset, err := ownMarker()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	nop := map[string][]byte{"amd64": {0x90}, "arm64": {0x1f, 0x20, 0x03, 0xd5}}[runtime.GOARCH]
	got := make([]byte, len(nop))
	if _, err := self.ReadAt(got, int64(offset)); err != nil || !slices.Equal(got, nop) {
		t.Errorf("% x at %#x, error %v", got, offset, err)
	}
}

// TestCapabilities is the experiment of docs/doctor.md: which capabilities are
// needed, tried with a child that has exactly those.
func TestCapabilities(t *testing.T) {
	testenv.BPF(t)
	testenv.Require(t, os.Geteuid() == 0, "only root can give a child other capabilities")
	multi := tryMarker(true) == nil
	own := fixture.Start(t, fixture.Build(t, "phases.c"))
	const bpf, perfmon, ptrace, admin = unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN
	for _, c := range []struct {
		name    string
		caps    []uintptr
		machine bool // tracing works
		process bool // tracing a process of another user works
	}{
		{"none", nil, false, false},
		{"CAP_BPF", []uintptr{bpf}, false, false},
		{"CAP_PERFMON", []uintptr{perfmon}, false, false},
		{"CAP_BPF and CAP_PERFMON", []uintptr{bpf, perfmon}, multi, false},
		{"these and CAP_SYS_PTRACE", []uintptr{bpf, perfmon, ptrace}, multi, multi},
		{"CAP_SYS_ADMIN", []uintptr{admin}, true, false},
		{"CAP_SYS_ADMIN and CAP_SYS_PTRACE", []uintptr{admin, ptrace}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := examineWith(t, c.caps, 0); r.Works != c.machine {
				t.Errorf("works: %v; broken: %+v", r.Works, r.Broken())
			}
			if r := examineWith(t, c.caps, own.Pid()); r.Works != c.process {
				t.Errorf("for a process of another user: %v; broken: %+v", r.Works, r.Broken())
			}
		})
	}
}

// nobody is a user without rights.
const nobody = 65534

// examineWith is the report of a child that has no right but some capabilities.
func examineWith(t *testing.T, caps []uintptr, pid int) *Report {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // by a path that every user may walk
	cmd.Env = append(os.Environ(), childEnv+"="+strconv.Itoa(pid))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: caps,
	}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// A process is judged as it is: with markers, stopped, ended.
func TestProcessAsItIs(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "phases.c"))
	look := func() *Report {
		return NewReport("", "", p.Pid(), judgeProcess(lookAtProcess(p.Pid()), loader.RewritingNone))
	}
	r := look()
	if !r.Works {
		t.Errorf("broken: %+v", r.Broken())
	}
	if c := find(t, r, "markers"); c.Count == 0 {
		t.Errorf("%+v", c)
	}
	p.Signal(unix.SIGSTOP)
	var status unix.Siginfo // the stop has happened once it can be waited for
	if err := unix.Waitid(unix.P_PID, p.Pid(), &status, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if c := find(t, look(), "running"); c.Result != Warn || c.Remedy == "" {
		t.Errorf("stopped: %+v", c)
	}
	p.Kill()
	s := lookAtProcess(p.Pid())
	if !errors.Is(s.err, process.ErrNoProcess) {
		t.Errorf("ended: %v", s.err)
	}
	if r := NewReport("", "", p.Pid(), judgeProcess(s, loader.RewritingNone)); r.Works {
		t.Error("a process that has ended can be traced")
	}
}
