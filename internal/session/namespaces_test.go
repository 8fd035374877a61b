// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// rootHere maps this user to root of a new user namespace.
func rootHere() (mappings []syscall.SysProcIDMap) {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
}

// A process in namespaces of its own, whose program lies on a file system that
// nobody else sees, traced from outside: its threads are reported with their ids
// here, on the host and in there.
func TestTraceIntoNamespaces(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags uintptr
	}{
		{"pid and mount", unix.CLONE_NEWPID | unix.CLONE_NEWNS},
		{"pid, mount and user", unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUSER},
	} {
		for _, follow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, follow=%v", c.name, follow), func(t *testing.T) {
				traceInto(t, c.flags, follow)
			})
		}
	}
}

func traceInto(t *testing.T, flags uintptr, follow bool) {
	testenv.BPF(t)
	dir := t.TempDir()
	script := fmt.Sprintf("mount -t tmpfs none %s && cp %s %s/hidden && exec %[3]s/hidden 3 2 10 0",
		dir, moved(t, fixture.Build(t, "phases.c")), dir)
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = rootHere(), rootHere()
	}
	p := fixture.StartCmd(t, cmd)
	p.Expect("ready")
	if _, err := os.Stat(dir + "/hidden"); err == nil {
		t.Fatal("the program can be seen from outside: this test shows nothing")
	}
	tr := attach(t, []int{p.Pid()}, Config{Follow: follow})
	p.WriteLine("go")
	logged := readSpans(t, p.ReadAll()) // by ids in there
	p.WaitOK()
	tr.wait()
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if pr := b.Thread.Process; pr.PID != p.Pid() || pr.ContainerPID != 1 || pr.HostPID < pr.PID {
			t.Fatalf("process %d, on the host %d, in there %d; want %d, at least that, and 1", pr.PID, pr.HostPID, pr.ContainerPID, p.Pid())
		}
		if b.Thread.TID == b.Thread.ContainerTID {
			t.Fatalf("thread %d has the same id in there", b.Thread.TID)
		}
		inside := *b.Thread // several boundaries share it
		inside.TID = inside.ContainerTID
		b.Thread = &inside
	}
	compareSpans(t, logged, tr.boundaries, 0)
}

// moved copies a file to where a new tmpfs does not hide it.
func moved(t *testing.T, path string) string {
	t.Helper()
	to, err := os.CreateTemp("", "phasetrace-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(to.Name()) })
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := to.Chmod(0o755); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}

// Environment of a test binary that runs one test inside of new namespaces.
const (
	insideRole    = "PHASETRACE_TEST_INSIDE"
	insideProgram = "PHASETRACE_TEST_PROGRAM"
	insidePID     = "PHASETRACE_TEST_PID"
)

// inside is this test binary in new namespaces.
type inside struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	all strings.Builder
}

// runInside starts one test in a PID and a mount namespace of its own.
func runInside(t *testing.T, test, role string, env ...string) *inside {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), insideRole+"="+role), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill() })
	return &inside{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
}

// await returns what follows a word at the beginning of a line.
func (i *inside) await(word string) string {
	i.t.Helper()
	for i.out.Scan() {
		i.all.WriteString(i.out.Text() + "\n")
		if rest, ok := strings.CutPrefix(i.out.Text(), word+" "); ok {
			return rest
		}
	}
	i.t.Fatalf("inside never said %s:\n%s", word, i.all.String())
	return ""
}

// finish waits for the test inside, which must pass.
func (i *inside) finish() {
	i.t.Helper()
	for i.out.Scan() {
		i.all.WriteString(i.out.Text() + "\n")
	}
	if err := i.cmd.Wait(); err != nil {
		i.t.Fatalf("inside: %v\n%s", err, i.all.String())
	}
	i.t.Logf("inside:\n%s", i.all.String())
}

// enter completes the namespaces that this process was started in.
func enter(t *testing.T) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
}

// phasetrace itself runs in a PID namespace: it takes and tells the ids of
// that, knows the host's, and is not misled by processes of another such
// namespace that have the same ids there and run the same file.
func TestTraceInsideNamespace(t *testing.T) {
	switch os.Getenv(insideRole) {
	case "tracer":
		traceInside(t)
		return
	case "neighbour":
		beNeighbour(t)
		return
	}
	testenv.BPF(t)
	for _, follow := range []string{"", "follow"} {
		t.Run("neighbours "+follow, func(t *testing.T) {
			program := insideProgram + "=" + fixture.Build(t, "phases.c")
			tracer := runInside(t, "TestTraceInsideNamespace", "tracer", program, "PHASETRACE_TEST_FOLLOW="+follow)
			pid := tracer.await("attached")
			for {
				// Threads of the Go runtime take ids too, and may take this one.
				neighbour := runInside(t, "TestTraceInsideNamespace", "neighbour", program, insidePID+"="+pid)
				ran := neighbour.await("ran") == pid
				neighbour.finish()
				if ran {
					break
				}
			}
			fmt.Fprintln(tracer.in, "go")
			tracer.finish()
		})
	}
}

func traceInside(t *testing.T) {
	enter(t)
	p := startPhases(t)
	for p.Pid() < 50 { // so that the neighbour can have the same
		p.Kill()
		p = startPhases(t)
	}
	tr := attach(t, []int{p.Pid()}, Config{Follow: os.Getenv("PHASETRACE_TEST_FOLLOW") != ""})
	fmt.Printf("\nattached %d\n", p.Pid())
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.WriteLine("go")
	logged := readSpans(t, p.ReadAll())
	p.WaitOK()
	tr.wait()
	if len(tr.processes) != 1 { // its end
		t.Errorf("told of processes %+v, want one", tr.processes)
	}
	for i := range tr.boundaries {
		th := tr.boundaries[i].Thread
		if th.ContainerTID != th.TID || th.Process.PID != p.Pid() || th.HostTID == th.TID || th.Process.HostPID == p.Pid() {
			t.Fatalf("thread %d (%d in there, %d on the host) of process %d (%d on the host); its process is %d",
				th.TID, th.ContainerTID, th.HostTID, th.Process.PID, th.Process.HostPID, p.Pid())
		}
	}
	compareSpans(t, logged, tr.boundaries, 0)
}

func startPhases(t *testing.T) *fixture.Proc {
	p := fixture.Start(t, os.Getenv(insideProgram), "3", "2", "10", "0")
	p.Expect("ready")
	return p
}

// beNeighbour runs the program with a process id that is given.
func beNeighbour(t *testing.T) {
	enter(t)
	want, err := strconv.Atoi(os.Getenv(insidePID))
	if err != nil {
		t.Fatal(err)
	}
	p := startPhases(t)
	for p.Pid() < want {
		p.Kill()
		p = startPhases(t)
	}
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	fmt.Printf("\nran %d\n", p.Pid())
}
