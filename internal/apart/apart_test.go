// SPDX-License-Identifier: Apache-2.0

package apart

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// workVar makes this test's binary a program whose work is done apart, and names
// the work.
const workVar = "PHASETRACE_APART_TEST"

func TestMain(m *testing.M) {
	if work := os.Getenv(workVar); work != "" {
		os.Exit(program(work))
	}
	goleak.VerifyTestMain(m)
}

func program(work string) int {
	w := Inside()
	if w == nil {
		f := Front{
			End: []os.Signal{unix.SIGINT, unix.SIGTERM}, Forward: []os.Signal{unix.SIGUSR1}, Tell: []os.Signal{unix.SIGUSR2},
			Say: func(m string) { io.WriteString(os.Stderr, m+"\n") },
		}
		status, err := f.Run()
		if err != nil {
			io.WriteString(os.Stderr, err.Error()+"\n")
		}
		return status
	}
	status := do(work, w)
	w.End(status)
	return status
}

// do does the work and returns its status.
func do(work string, w *Worker) int {
	say := func(line string) { io.WriteString(os.Stdout, line+"\n") }
	switch work {
	case "environment":
		say(strings.Join(os.Environ(), "\n"))
		return 7
	case "wait":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, unix.SIGINT, unix.SIGUSR1)
		say("ready")
		for {
			select {
			case sig := <-signals:
				say("got " + sig.String())
			case sig := <-w.Told():
				say("told " + sig.String())
			case sig := <-w.Asked():
				say("asked " + sig.String())
				return 3
			}
		}
	case "deaf":
		signal.Ignore(unix.SIGINT)
		say("ready")
		<-w.Asked()
		say("asked")
		select {}
	case "killed":
		_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
		select {}
	case "stay": // as a thread does that waits in the kernel: it has told, and lives
		say("ready")
		w.End(5)
		select {}
	}
	return 99
}

// proc is a front that runs.
type proc struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Reader
	errs  *strings.Builder
}

func startFront(t *testing.T, work string) *proc {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), workVar+"="+work)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &proc{Cmd: cmd, t: t, lines: bufio.NewReader(out), errs: new(strings.Builder)}
	cmd.Stderr = p.errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { hung.Stop() })
	return p
}

func (p *proc) expect(want string) {
	p.t.Helper()
	if got, err := p.lines.ReadString('\n'); got != want+"\n" {
		p.t.Fatalf("it said %q, %v; want %q", got, err, want)
	}
}

func (p *proc) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// end returns what it said until its end, which must come with a status.
func (p *proc) end(status int) string {
	p.t.Helper()
	rest, err := io.ReadAll(p.lines)
	if err := errors.Join(err, ignoreExit(p.Wait())); err != nil {
		p.t.Error(err)
	}
	if got := p.ProcessState.ExitCode(); got != status {
		p.t.Errorf("%s, want status %d; it said %q", p.ProcessState, status, p.errs)
	}
	return string(rest)
}

func ignoreExit(err error) error {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return nil
	}
	return err
}

// mustEnd waits until a process is gone.
func mustEnd(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); unix.Kill(pid, 0) != unix.ESRCH; {
		if time.Now().After(end) {
			t.Fatalf("process %d lives", pid)
		}
	}
}

// The worker has the environment, and what it starts is no worker.
func TestStatusAndEnvironment(t *testing.T) {
	p := startFront(t, "environment")
	said := p.end(7)
	if !strings.Contains(said, workVar+"=environment\n") || strings.Contains(said, workerVar) {
		t.Errorf("environment %q", said)
	}
}

func TestSignals(t *testing.T) {
	p := startFront(t, "wait")
	p.expect("ready")
	p.signal(unix.SIGUSR1)
	p.expect("got user defined signal 1")
	for range 2 {
		p.signal(unix.SIGUSR2)
		p.expect("told user defined signal 2")
	}
	p.signal(unix.SIGTERM)
	p.expect("asked terminated")
	p.end(3)
}

// A second signal ends both, whatever the worker does.
func TestSecondSignal(t *testing.T) {
	p := startFront(t, "deaf")
	p.expect("ready")
	worker := WorkerOf(p.Process.Pid)
	p.signal(unix.SIGINT)
	p.expect("asked")
	p.signal(unix.SIGINT)
	p.end(-1)
	mustEnd(t, worker)
}

func TestFrontIsKilled(t *testing.T) {
	p := startFront(t, "wait")
	p.expect("ready")
	worker := WorkerOf(p.Process.Pid)
	p.signal(unix.SIGKILL)
	p.end(-1)
	mustEnd(t, worker)
}

func TestWorkerIsKilled(t *testing.T) {
	p := startFront(t, "killed")
	p.end(128 + 9)
	if said := p.errs.String(); !strings.Contains(said, "was killed: killed") {
		t.Errorf("it said %q", said)
	}
}

// A worker that cannot end is left behind, told of, and holds nobody's pipe.
func TestLeftBehind(t *testing.T) {
	p := startFront(t, "stay")
	p.expect("ready")
	p.end(5)
	if said := p.errs.String(); !strings.Contains(said, "is left behind") {
		t.Errorf("it said %q", said)
	}
}

// A variable that somebody else has set makes no worker.
func TestNotInside(t *testing.T) {
	for _, value := range []string{"", "x", "0,1", "1000,1001"} {
		t.Setenv(workerVar, value)
		if Inside() != nil {
			t.Errorf("%s=%q makes a worker", workerVar, value)
		}
		if _, is := os.LookupEnv(workerVar); is {
			t.Errorf("%s=%q is still set", workerVar, value)
		}
	}
}
