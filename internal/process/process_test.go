// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestOpen(t *testing.T) {
	exe := fixture(t, "fixture")
	cmd := exec.Command(exe, "one", "", "two words")
	child := run(t, cmd)
	p := attach(t, child.pid)
	want := []string{exe, "one", "", "two words"}
	if p.PID != child.pid || p.Exe != exe || p.Comm != "fixture" || !cmp.Equal(p.Cmdline, want) ||
		p.UID != os.Geteuid() || p.Threads != 1 || p.Parent != os.Getpid() || p.StartTime == 0 {
		t.Errorf("%+v", p)
	}
	if !cmp.Equal(p.NSPIDs[:1], []int{child.pid}) {
		t.Errorf("NSPIDs %v", p.NSPIDs)
	}
	if id := p.ID(); id.PID != child.pid || id.StartTime != p.StartTime {
		t.Errorf("ID %v", id)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, pid := range []int{0, -1, 1 << 30, 1<<32 + 1, 1<<32 + os.Getpid(), math.MaxInt} {
		if _, err := Open(pid); !errors.Is(err, ErrNoProcess) {
			t.Errorf("Open(%d): %v", pid, err)
		}
	}
	if data, err := os.ReadFile("/proc/2/comm"); err == nil && string(data) == "kthreadd\n" {
		if _, err := Open(2); !errors.Is(err, ErrKernelThread) {
			t.Errorf("kernel thread: %v", err)
		}
	}
	child := run(t, exec.Command(fixture(t, "fixture")))
	child.say("threads 1")
	tid := child.number("thread")
	var thread *ThreadError
	if _, err := Open(tid); !errors.As(err, &thread) || thread.PID != child.pid || thread.TID != tid {
		t.Errorf("thread: %v", err)
	}
	p := attach(t, child.pid)
	if err := child.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(child.pid); !errors.Is(err, ErrZombie) || !errors.Is(err, ErrNoProcess) {
		t.Errorf("zombie: %v", err)
	}
	_ = child.cmd.Wait()
	if _, err := Open(child.pid); !errors.Is(err, ErrNoProcess) {
		t.Errorf("reaped: %v", err)
	}
}

// everything calls each method that looks at the process.
func everything(p *Process) map[string]error {
	_, modules := p.Modules()
	_, _, since := p.ModulesSince(nil)
	_, environ := p.Environ("RANK")
	_, namespaces := p.Namespaces()
	return map[string]error{
		"Modules": modules, "ModulesSince": since, "Environ": environ,
		"Namespaces": namespaces, "Refresh": p.Refresh(), "Alive": p.Alive(), "Signal": p.Signal(unix.SIGCONT),
	}
}

func TestAfterTheEnd(t *testing.T) {
	child := run(t, exec.Command(fixture(t, "fixture")))
	p := attach(t, child.pid)
	for name, err := range everything(p) {
		if err != nil {
			t.Errorf("running: %s: %v", name, err)
		}
	}
	select {
	case <-p.Done():
		t.Fatal("done while it runs")
	default:
	}
	child.say("exit 0")
	<-p.Done()
	for name, err := range everything(p) {
		if !errors.Is(err, ErrNoProcess) && name != "Signal" { // a zombie may be sent one
			t.Errorf("zombie: %s: %v", name, err)
		}
	}
	_ = child.cmd.Wait()
	for name, err := range everything(p) {
		if !errors.Is(err, ErrNoProcess) {
			t.Errorf("reaped: %s: %v", name, err)
		}
	}
	if err := p.Wait(context.Background()); err != nil {
		t.Errorf("Wait: %v", err)
	}
	p.Close()
	for name, err := range everything(p) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %s: %v", name, err)
		}
	}
}

func TestWaitEnds(t *testing.T) {
	child := run(t, exec.Command(fixture(t, "fixture")))
	p := attach(t, child.pid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	result := make(chan error)
	go func() { result <- p.Wait(t.Context()) }()
	p.Close()
	p.Close()
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A PID that is used again never answers for the process that had it before.
func TestReusedPID(t *testing.T) {
	needRoot(t)
	child := run(t, exec.Command(fixture(t, "fixture")))
	child.say("child 1")
	var pid, parent int
	if _, err := fmt.Sscanf(child.line("child"), "%d of %d", &pid, &parent); err != nil {
		t.Fatal(err)
	}
	first := attach(t, pid)
	child.say("reap %d", pid)
	child.number("reaped")
	child.say("reborn %d", pid)
	if got := child.number("reborn"); got != pid {
		t.Fatalf("PID %d was not given again (%d)", pid, got)
	}
	second := attach(t, pid)
	for name, err := range everything(first) {
		if !errors.Is(err, ErrNoProcess) {
			t.Errorf("first: %s: %v", name, err)
		}
	}
	for name, err := range everything(second) {
		if err != nil {
			t.Errorf("second: %s: %v", name, err)
		}
	}
	<-first.Done()
}

// The main thread can end before the others; the kernel shows nothing of the
// process's memory through it then.
func TestMainThreadEnded(t *testing.T) {
	exe := fixture(t, "fixture")
	cmd := exec.Command(exe)
	cmd.Env = []string{"RANK=5"}
	child := run(t, cmd)
	child.say("leave")
	child.number("ready")
	p := attach(t, child.pid)
	_, main := modules(t, p)
	if main.Path != exe || p.Exe != exe || len(p.Cmdline) != 1 {
		t.Errorf("%+v %+v", main, p)
	}
	sameContents(t, main, exe)
	if rank, source, ok := p.Rank(); rank != 5 || source != "RANK" || !ok {
		t.Errorf("rank %d, %q, %v", rank, source, ok)
	}
	select {
	case <-p.Done():
		t.Error("done while a thread runs")
	default:
	}
	child.in.Close()
	<-p.Done()
}

func TestDescendants(t *testing.T) {
	child := run(t, exec.Command(fixture(t, "fixture")))
	var pids [4]int
	child.say("child 3") // a child, its child, and the child of that
	parentOf := map[int]int{}
	for range 3 {
		var pid, parent int
		if _, err := fmt.Sscanf(child.line("child"), "%d of %d", &pid, &parent); err != nil {
			t.Fatal(err)
		}
		parentOf[parent] = pid
	}
	pids[0] = child.pid
	for i := range 3 {
		pids[i+1] = parentOf[pids[i]]
	}
	for i, pid := range pids {
		want := pids[i+1:]
		if got, err := Descendants(pid); err != nil || !slices.Equal(got, want) {
			t.Errorf("descendants: %v, %v; want %v", got, err, want)
		}
	}
	if _, err := Descendants(1 << 30); !errors.Is(err, ErrNoProcess) {
		t.Errorf("no process: %v", err)
	}
}

func TestEnviron(t *testing.T) {
	cmd := exec.Command(fixture(t, "fixture"))
	cmd.Env = []string{"A=1", "EMPTY=", "PMI_RANK=12", "B=x=y\nz"}
	p := attach(t, run(t, cmd).pid)
	got, err := p.Environ("B", "EMPTY", "MISSING")
	if err != nil || !cmp.Equal(got, map[string]string{"B": "x=y\nz", "EMPTY": ""}) {
		t.Errorf("%q, %v", got, err)
	}
	if all, err := p.Environ(); err != nil || len(all) != 4 {
		t.Errorf("%q, %v", all, err)
	}
	if rank, source, ok := p.Rank(); rank != 12 || source != "PMI_RANK" || !ok {
		t.Errorf("rank %d, %q, %v", rank, source, ok)
	}
	cmd = exec.Command(fixture(t, "fixture"))
	cmd.Env = []string{}
	if env, err := attach(t, run(t, cmd).pid).Environ("A"); err != nil || len(env) != 0 {
		t.Errorf("empty environment: %q, %v", env, err)
	}
}

func TestExecChangesFields(t *testing.T) {
	dir := t.TempDir()
	exe := filepath.Join(dir, "second")
	copyFile(t, fixture(t, "fixture"), exe)
	child := run(t, exec.Command("/bin/sh", "-c", `echo marker 0; echo ready $$; read go; exec "$0"`, exe))
	p := attach(t, child.pid)
	id := p.ID()
	child.say("go")
	child.number("marker")
	child.number("ready")
	if err := p.Refresh(); err != nil {
		t.Fatal(err)
	}
	if p.Exe != exe || p.Comm != "second" || p.ID() != id || !slices.Equal(p.Cmdline, []string{exe}) {
		t.Errorf("%+v", p)
	}
}

type refusal struct {
	Error, Capability, Op string
	Permission            bool
}

func init() {
	helpers["open"] = func() error {
		var pid int
		if _, err := fmt.Sscan(os.Args[1], &pid); err != nil {
			return err
		}
		_, err := Open(pid)
		var denied *PermissionError
		if !errors.As(err, &denied) {
			return answer(refusal{Error: fmt.Sprint(err)})
		}
		return answer(refusal{err.Error(), denied.Capability, denied.Op, errors.Is(err, fs.ErrPermission)})
	}
}

func TestOtherUsersProcess(t *testing.T) {
	needRoot(t)
	child := run(t, exec.Command(fixture(t, "fixture")))
	cmd := helper("open", fmt.Sprint(child.pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var got refusal
	ask(t, cmd, &got)
	if got.Capability != "CAP_SYS_PTRACE" || !got.Permission || !strings.Contains(got.Error, "sudo") ||
		!strings.Contains(got.Error, "uid 0") {
		t.Errorf("%+v", got)
	}
}

func init() {
	helpers["hidden"] = func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount("proc", "/proc", "proc", 0, "hidepid=2"); err != nil {
			return err
		}
		if err := unix.Setgroups(nil); err != nil {
			return err
		}
		if err := errors.Join(syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
			return err
		}
		return helpers["open"]()
	}
}

// A /proc mounted with hidepid shows no such process; it is there nevertheless.
func TestHiddenProcess(t *testing.T) {
	needRoot(t)
	child := run(t, exec.Command(fixture(t, "fixture")))
	cmd := helper("hidden", fmt.Sprint(child.pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	var got refusal
	ask(t, cmd, &got)
	if got.Capability != "CAP_SYS_PTRACE" || !got.Permission {
		t.Errorf("%+v", got)
	}
}

func TestNoLeaks(t *testing.T) {
	child := run(t, exec.Command(fixture(t, "fixture")))
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for range 50 {
		p, err := Open(child.pid)
		if err != nil {
			t.Fatal(err)
		}
		for name, err := range everything(p) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		p.Close()
		if _, err := Open(1 << 30); err == nil {
			t.Fatal("no error")
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
