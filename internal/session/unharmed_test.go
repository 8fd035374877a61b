// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// The red zone of a leaf function stays as it is under every hit, and a child
// that is forked while its parent is traced lives.
func TestRedZoneAndFork(t *testing.T) {
	for _, follow := range []bool{false, true} {
		t.Run(fmt.Sprintf("follow=%v", follow), func(t *testing.T) {
			path := fixture.Build(t, "forktrace.c")
			p := fixture.Start(t, path, "20000")
			p.Expect("ready")
			state := look(t, p.Pid(), path)
			tr := attach(t, []int{p.Pid()}, Config{Follow: follow})
			for range 3 {
				p.WriteLine("go")
				for _, want := range []string{"parent", "child"} {
					if line := p.ReadLine(); !strings.HasPrefix(line, want) || !strings.Contains(line, "corrupted 0") ||
						want == "child" && !strings.HasSuffix(line, "status 0") {
						t.Errorf("%q", line)
					}
				}
			}
			sum := tr.stop()
			state.mustBeGone()
			if sum.ViolationTotal != 0 || sum.Boundaries == 0 {
				t.Errorf("%d boundaries, %d violations", sum.Boundaries, sum.ViolationTotal)
			}
			p.CloseStdin()
			p.WaitOK()
		})
	}
}

// Exceptions leave phases properly, and the program does not notice.
func TestExceptions(t *testing.T) {
	const rounds = 20_000
	p := fixture.Start(t, fixture.Build(t, "throws.cc"), fmt.Sprint(rounds))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	var tid, phases, caught, corrupted int
	if _, err := fmt.Sscanf(p.ReadLine(), "done %d %d %d corrupted %d", &tid, &phases, &caught, &corrupted); err != nil {
		t.Fatal(err)
	}
	p.WaitOK()
	sum := tr.wait()
	if corrupted != 0 || caught != rounds/2 {
		t.Errorf("%d words corrupted, %d exceptions caught", corrupted, caught)
	}
	if sum.ViolationTotal != 0 || sum.Synthetic != 0 || sum.Boundaries != uint64(2*phases) {
		t.Errorf("%d boundaries of %d phases, %d synthetic, %d violations", sum.Boundaries, phases, sum.Synthetic, sum.ViolationTotal)
	}
}

// tracerEnv makes the test binary a tracer of that process; see TestKilled.
const tracerEnv = "PHASETRACE_TEST_TRACER"

// TestTracerProcess is no test: it is the tracer that TestKilled kills.
func TestTracerProcess(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv(tracerEnv))
	if err != nil {
		return
	}
	attach(t, []int{pid}, Config{})
	fmt.Println("attached")
	select {}
}

// A tracer that is killed leaves nothing behind.
func TestKilled(t *testing.T) {
	testenv.BPF(t)
	path := fixture.Build(t, "spin.c")
	p := fixture.Start(t, path, "2", "20000")
	p.Expect("ready")
	state := look(t, p.Pid(), path)
	tracer := exec.Command(os.Args[0], "-test.run", "^TestTracerProcess$", "-test.v")
	tracer.Env = append(os.Environ(), tracerEnv+"="+strconv.Itoa(p.Pid()))
	tracer.Stderr = os.Stderr
	out, err := tracer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tracer.Process.Kill(); _ = tracer.Wait() }()
	ready := false
	for lines := bufio.NewScanner(out); !ready && lines.Scan(); {
		ready = lines.Text() == "attached"
	}
	if !ready || !state.attached() {
		t.Fatal("the tracer did not attach")
	}
	p.WriteLine("go") // the program runs into the probes
	if err := tracer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = tracer.Wait()
	state.mustBeGone()
	for p.ReadLine() != "again" {
	}
	p.CloseStdin()
	p.WaitOK()
}

var soakTime = flag.Duration("soak", 10*time.Second, "how long the soak takes; make soak: 10m")

// Soak attaches to a program and detaches from it again and again, while it
// does everything a tracer could harm it in and checks itself.
func TestSoak(t *testing.T) {
	testenv.BPF(t)
	path := fixture.Build(t, "soak.cc", "-ldl")
	p := fixture.Start(t, path, fixture.Build(t, "libphase.c", "-shared", "-fPIC"))
	p.Expect("ready")
	state := look(t, p.Pid(), path)
	p.WriteLine("go")
	var rounds, boundaries, lost uint64
	for end := time.Now().Add(*soakTime); time.Now().Before(end); rounds++ {
		sum := soakRound(t, p.Pid(), rounds)
		boundaries += sum.Boundaries
		lost += sum.Lost
		if rounds%8 == 0 {
			state.mustBeGone()
		}
		if t.Failed() || !p.Running() {
			break
		}
	}
	state.mustBeGone()
	p.CloseStdin()
	t.Logf("%d sessions, %d boundaries, %d records lost; the program: %s", rounds, boundaries, lost, strings.Join(p.ReadAll(), " "))
	p.WaitOK()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("heap of the tracer: %d MiB, of the system %d MiB", mem.HeapAlloc>>20, mem.Sys>>20)
}

// soakRound is one session: sometimes with children, sometimes with a ring that
// overflows, sometimes over before it has begun.
func soakRound(t *testing.T, pid int, n uint64) *stream.Summary {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &soakSink{enough: int(n % 5 * 200), done: cancel}
	o := Config{
		SessionID: "soak", Follow: n%3 == 1, Sink: c, Without: testenv.Without(t), Duration: 2 * time.Second,
		Message:  func(string) {},
		Attached: func(Attached) error { c.attached = true; c.count(); return nil },
	}
	if n%4 == 3 {
		o.RingBytes = os.Getpagesize()
	}
	sum, err := runAll(ctx, []int{pid}, o)
	if err != nil {
		t.Errorf("session %d: %v", n, err)
		return &stream.Summary{}
	}
	if sum.ViolationTotal != 0 {
		t.Errorf("session %d: %d violations: %v", n, sum.ViolationTotal, sum.Violations[0].First.Err)
	}
	for _, note := range sum.Notes {
		if strings.Contains(note.What, "please report") {
			t.Errorf("session %d: %d %s", n, note.Count, note.What)
		}
	}
	return sum
}

// soakSink ends its session after enough boundaries, and holds paths against
// what the program can be in.
type soakSink struct {
	collector
	enough   int
	attached bool
	done     func()
}

func (s *soakSink) count() {
	if s.enough--; s.enough < 0 && s.attached {
		s.done()
	}
}

func (s *soakSink) Record(r stream.Record) error {
	b, ok := r.(*stream.Boundary)
	if !ok {
		return nil
	}
	s.count()
	if b.Path.Depth() > 10 {
		return fmt.Errorf("%s: the program is never that deep", b.Path)
	}
	return nil
}
