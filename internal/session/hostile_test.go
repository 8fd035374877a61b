// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Names and attributes of every bad kind: each phase is reported, bounded and with
// attributes that are a JSON object, and the good phase after it is right.
func TestHostileNames(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "names.c")) // 10 MiB long ones
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	cases := 0
	for _, line := range p.ReadAll() {
		if strings.HasPrefix(line, "case ") {
			cases++
		}
	}
	p.WaitOK()
	sum := tr.wait()
	good := 0
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Path.Depth() != 1 || len(b.Path.Name()) == 0 || len(b.Path.Name()) > maxNameBytes {
			t.Errorf("name %q", b.Path.Name())
		}
		if len(b.Attributes) > 0 && (!json.Valid(b.Attributes) || b.Attributes[0] != '{' || !utf8.Valid(b.Attributes)) {
			t.Errorf("attributes %q", b.Attributes)
		}
		if b.Path.Name() == "good" && b.Action == recorder.Exit {
			good++
		}
	}
	if good != cases || sum.Boundaries != uint64(4*cases) || sum.ViolationTotal != 0 || sum.Lost != 0 {
		t.Errorf("%d good phases of %d, %d boundaries, %d violations, %d lost", good, cases, sum.Boundaries, sum.ViolationTotal, sum.Lost)
	}
	if len(sum.Notes) == 0 {
		t.Error("nothing was said of what was cut and could not be read")
	}
	for _, n := range sum.Notes {
		t.Logf("%d %s", n.Count, n.What)
	}
}

// Memory that changes while it is read gives some name, never harm.
func TestScribbledNames(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "scribble.c"), "50000")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	p.Expect("done 50000")
	p.WaitOK()
	sum := tr.wait()
	if sum.Received+sum.Lost != 100_000 || sum.ViolationTotal != 0 {
		t.Errorf("received %d, lost %d, %d violations", sum.Received, sum.Lost, sum.ViolationTotal)
	}
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if len(b.Path.Name()) > maxNameBytes || len(b.Attributes) > 0 && !json.Valid(b.Attributes) {
			t.Fatalf("name %q, attributes %q", b.Path.Name(), b.Attributes)
		}
	}
}

// Children without end, followed, through the smallest ring: none is mixed up
// with another, and the session ends.
func TestForkLoop(t *testing.T) {
	const children = 300
	for _, ring := range []int{0, os.Getpagesize()} {
		t.Run(fmt.Sprintf("ring %d", ring), func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "forkloop.c"), fmt.Sprint(children), "3")
			p.Expect("ready")
			tr := attach(t, []int{p.Pid()}, Config{Follow: true, RingBytes: ring})
			p.WriteLine("go")
			p.Expect(fmt.Sprintf("done %d 0", children))
			p.WaitOK()
			sum := tr.wait()
			if sum.Received+sum.Lost != children*3*2 || sum.ViolationTotal != 0 {
				t.Errorf("received %d, lost %d, %d violations", sum.Received, sum.Lost, sum.ViolationTotal)
			}
			for i := range tr.boundaries {
				if d := tr.boundaries[i].Path.Depth(); d > 1 {
					t.Fatalf("%s: two children were joined", tr.boundaries[i].Path)
				}
			}
		})
	}
}

// Threads that end inside their phases, one after the other.
func TestThreadsEndInPhases(t *testing.T) {
	const threads = 200
	p := fixture.Start(t, fixture.Build(t, "thread_exit.c"), fmt.Sprint(threads))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if sum.Synthetic != 2*threads || sum.ViolationTotal != 0 {
		t.Errorf("%d synthetic boundaries, %d violations; want %d and none", sum.Synthetic, sum.ViolationTotal, 2*threads)
	}
	last := 0 // boundaries of a thread that was the last of its process
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Synthetic == stream.ReasonProcessExit {
			last++
		}
		if b.Synthetic != stream.ReasonNone && b.Synthetic != stream.ReasonThreadExit && b.Synthetic != stream.ReasonProcessExit || b.Path.Depth() > 2 {
			t.Fatalf("%s: %q", b.Path, b.Synthetic)
		}
	}
	if last > 2 {
		t.Errorf("%d phases were closed by the process's end, want those of one thread at most", last)
	}
}

// A stopped target is attached to and detached from, and goes on after.
func TestStoppedTarget(t *testing.T) {
	path := fixture.Build(t, "spin.c")
	p := fixture.Start(t, path, "1", "1000")
	p.Expect("ready")
	state := look(t, p.Pid(), path)
	p.Signal(syscall.SIGSTOP)
	tr := attach(t, []int{p.Pid()}, Config{})
	tr.stop()
	state.mustBeGone()
	tr = attach(t, []int{p.Pid()}, Config{})
	p.Signal(syscall.SIGCONT)
	spinOnce(t, p, tr, 2000)
}

// spinOnce lets spin run, and holds the session against its boundaries.
func spinOnce(t *testing.T, p *fixture.Proc, tr *tracing, want uint64) {
	t.Helper()
	p.WriteLine("go")
	for p.ReadLine() != "again" {
	}
	p.CloseStdin()
	p.WaitOK()
	if sum := tr.wait(); sum.Boundaries != want || sum.ViolationTotal != 0 || sum.Lost != 0 {
		t.Errorf("%d boundaries, %d violations, %d lost; want %d", sum.Boundaries, sum.ViolationTotal, sum.Lost, want)
	}
}

// A target that strace follows or that gdb has stopped is traced all the same.
func TestTracedTarget(t *testing.T) {
	for name, args := range map[string][]string{
		"strace": {"strace", "-f", "-qq", "-o", os.DevNull, "-p"},
		"gdb":    {"gdb", "-q", "-batch", "-ex", "continue", "-p"},
	} {
		t.Run(name, func(t *testing.T) {
			tool, err := exec.LookPath(args[0])
			testenv.Require(t, err == nil, "needs "+args[0]+": install it")
			p := fixture.Start(t, fixture.Build(t, "spin.c"), "2", "5000")
			p.Expect("ready")
			other := exec.Command(tool, append(args[1:], fmt.Sprint(p.Pid()))...)
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(20 * time.Second); !strings.Contains(tracerOf(t, p.Pid()), fmt.Sprint(other.Process.Pid)); {
				if time.Now().After(end) {
					t.Fatal(name, " did not attach")
				}
			}
			tr := attach(t, []int{p.Pid()}, Config{})
			spinOnce(t, p, tr, 20000)
			_ = other.Wait() // it ends with the program, with what status is its own
		})
	}
}

func tracerOf(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "TracerPid:")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

// Two sessions on one target see the same, and neither takes the other's
// probes along.
func TestTwoSessions(t *testing.T) {
	path := fixture.Build(t, "spin.c")
	p := fixture.Start(t, path, "2", "3000")
	p.Expect("ready")
	state := look(t, p.Pid(), path)
	first := attach(t, []int{p.Pid()}, Config{})
	second := attach(t, []int{p.Pid()}, Config{})
	third := attach(t, []int{p.Pid()}, Config{})
	third.stop()
	if !state.attached() {
		t.Fatal("the end of one session has taken the probes of the others")
	}
	spinOnce(t, p, second, 12000)
	if sum := first.wait(); sum.Boundaries != 12000 || sum.ViolationTotal != 0 {
		t.Errorf("%d boundaries, %d violations", sum.Boundaries, sum.ViolationTotal)
	}
}

// Whatever the moment at which the target dies or the user gives up during
// attach, Run returns, and says nothing false.
func TestInterruptedAttach(t *testing.T) {
	testenv.BPF(t)
	path := fixture.Build(t, "spin.c")
	for i := range 12 {
		p := fixture.Start(t, path, "2", "1000000")
		p.Expect("ready")
		state := look(t, p.Pid(), path)
		p.WriteLine("go")
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(i)*5*time.Millisecond, func() {
			if i%2 == 0 {
				p.Signal(os.Kill)
			} else {
				cancel()
			}
		})
		sum, err := runAll(ctx, []int{p.Pid()}, Config{SessionID: "s", Sink: &blank{},
			Without: testenv.Without(t), Message: func(string) {}})
		cancel()
		if err == nil && sum.ViolationTotal != 0 {
			t.Errorf("%d violations: %v", sum.ViolationTotal, sum.Violations[0].First.Err)
		}
		if err != nil && i%2 == 1 && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if i%2 == 1 {
			state.mustBeGone()
		}
		p.Kill()
	}
}
