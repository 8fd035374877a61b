// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// openFiles returns how many descriptors this process has, and how many of them
// are BPF links that hold uprobes.
func openFiles(t testing.TB) (files, links int) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		info, err := os.ReadFile(name)
		if err != nil {
			continue // the descriptor of the listing itself
		}
		files++
		if strings.Contains(string(info), "link_type:\tuprobe_multi") || strings.Contains(string(info), "link_type:\tperf") {
			links++
		}
	}
	return files, links
}

// eventually waits for something that is bound to come, and returns how long it
// took.
func eventually(t testing.TB, what string, is func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%s did not come about", what)
		}
		time.Sleep(time.Millisecond) // between two looks at what nothing announces
	}
	return time.Since(began)
}

// spin starts the fixture that runs phases on each "go".
func spin(t testing.TB, phases string) *fixture.Proc {
	t.Helper()
	return spinFile(t, fixture.Build(t, "spin.c"), phases)
}

func spinFile(t testing.TB, file, phases string) *fixture.Proc {
	t.Helper()
	p := fixture.Start(t, file, "1", phases, "call")
	p.Expect("ready")
	return p
}

// goOn lets the fixture run its phases once.
func goOn(p *fixture.Proc) {
	p.WriteLine("go")
	for !strings.HasPrefix(p.ReadLine(), "total") {
	}
	p.Expect("again")
}

// The probes of a target that ends are removed at once, those of the others stay.
func TestLinksOfEndedTarget(t *testing.T) {
	one, two := spin(t, "10"), spin(t, "10")
	tr := attach(t, []int{one.Pid(), two.Pid()}, Config{})
	// Each has a link under its markers and one under its dynamic linker; one
	// more makes new programs wait.
	const each, shared = 2, 1
	if _, n := openFiles(t); n != 2*each+shared {
		t.Errorf("%d links with two targets, want %d", n, 2*each+shared)
	}
	one.Kill()
	took := eventually(t, "the removal of probes", func() bool { _, n := openFiles(t); return n <= each+shared })
	t.Logf("the links of one target were gone %v after its end", took)
	if n := tr.session.watcher.tracer.Links(); n != each+shared {
		t.Errorf("%d links are left, want %d", n, each+shared)
	}
	goOn(two)
	two.CloseStdin()
	two.WaitOK()
	if sum := tr.wait(); sum.Boundaries != 20 { // the first printed nothing but "ready"
		t.Errorf("%d boundaries, want 20 of the target that went on", sum.Boundaries)
	}
}

// usage is what a session may not pile up.
type usage struct {
	files, links, sites int
	heap                uint64
}

func usageOf(t testing.TB, tr *tracing) usage {
	t.Helper()
	tr.mu.Lock()
	tr.boundaries, tr.order = nil, nil // the test's own
	tr.mu.Unlock()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	files, links := openFiles(t)
	w := tr.session.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	return usage{files, links, len(w.plan.sites), m.HeapAlloc}
}

// Targets come and go by the hundred: nothing is left of them.
func TestAddAndRemove(t *testing.T) {
	testenv.BPF(t)
	const cycles, phases = 300, 5
	for _, kept := range []bool{true, false} {
		file := fixture.Build(t, "spin.c")
		name, other := "another file is traced on", fixture.Build(t, "spin.c")
		if kept {
			name, other = "the same file is traced on", file
		}
		t.Run(name, func(t *testing.T) {
			first, p := spinFile(t, other, "1"), spinFile(t, file, "5")
			tr := attach(t, []int{first.Pid()}, Config{})
			var early usage
			for i := range cycles {
				if err := tr.session.Add(t.Context(), Target{PID: p.Pid()}); err != nil {
					t.Fatal(err)
				}
				goOn(p)
				if err := tr.session.Remove(p.Pid()); err != nil {
					t.Fatal(err)
				}
				if i == 20 || i == cycles-1 {
					eventually(t, "the removal of a process", func() bool {
						_, gone := tr.session.core.process(p.Pid())
						return !gone && tr.session.watcher.tracer.Links() <= 3
					})
				}
				if i == 20 {
					early = usageOf(t, tr)
				}
			}
			eventually(t, "the end of forgetting", func() bool { return usageOf(t, tr).sites <= early.sites })
			late := usageOf(t, tr)
			t.Logf("after 20 cycles %+v, after %d %+v", early, cycles, late)
			if late.links > early.links || late.files > early.files+1 || late.heap > early.heap+1<<20 {
				t.Errorf("after 20 cycles %+v, after %d %+v", early, cycles, late)
			}
			first.Kill()
			sum := tr.stop()
			if want := uint64(2 * cycles * phases); sum.Boundaries != want || sum.Synthetic != 0 || sum.ViolationTotal != 0 {
				t.Errorf("%d boundaries, %d synthetic, %d violations; want %d, none and none", sum.Boundaries, sum.Synthetic, sum.ViolationTotal, want)
			}
			for _, n := range sum.Notes {
				if strings.Contains(n.What, "please report") {
					t.Errorf("%d %s", n.Count, n.What)
				}
			}
			p.CloseStdin()
			p.WaitOK()
		})
	}
}

// A snapshot tells what has happened so far, while the session goes on.
func TestSnapshot(t *testing.T) {
	p := spin(t, "50")
	tr := attach(t, []int{p.Pid()}, Config{})
	for round := range uint64(3) {
		goOn(p)
		var sum *stream.Summary
		eventually(t, "the end of a round in a snapshot", func() bool {
			sum = tr.session.Snapshot()
			return sum.Boundaries == 100*(round+1)
		})
		if len(sum.Paths) != 1 || sum.Paths[0].Count != 50*(round+1) || sum.Paths[0].Open != 0 {
			t.Errorf("round %d: %+v", round, sum.Paths)
		}
	}
	p.CloseStdin()
	p.WaitOK()
	tr.wait()
}

// A process that is removed inside a phase has that phase closed, and can be
// added again.
func TestRemoveInsidePhase(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "midphase.c"))
	p.ReadLine() // it is inside
	other := spin(t, "1")
	tr := attach(t, []int{other.Pid(), p.Pid()}, Config{})
	if err := tr.session.Remove(p.Pid()); err != nil {
		t.Fatal(err)
	}
	if err := tr.session.Remove(p.Pid()); err == nil {
		t.Error("a process that is not traced can be removed")
	}
	if err := tr.session.Add(context.Background(), Target{PID: p.Pid()}); err != nil {
		t.Fatal(err)
	}
	other.Kill()
	p.Kill()
	tr.wait()
}

// Followed programs that run on keep nothing open in the session.
func TestFollowedKeepNothingOpen(t *testing.T) {
	const some, more = 5, 25
	program, input := fixture.Build(t, "phases.c"), filepath.Join(t.TempDir(), "input")
	if err := unix.Mkfifo(input, 0o600); err != nil {
		t.Fatal(err)
	}
	p := fixture.StartCmd(t, exec.Command("sh", "-c",
		`echo ready; while read n; do for i in $(seq $n); do "$0" 1 1 1 0 <>"$1" >/dev/null & all="$all $!"; done; done; kill $all; wait`, program, input))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Follow: true})
	w := tr.session.watcher
	var files [2]int
	for i, n := range []int{some, more} {
		p.WriteLine(strconv.Itoa(n))
		eventually(t, "the look at each program", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			looked := 0
			for _, t := range w.targets.byPID {
				if m := process.Main(t.modules); m != nil && m.Path == program {
					looked++
				}
			}
			return looked == some+i*more
		})
		files[i], _ = openFiles(t)
		eventually(t, "files that are open for a moment only, as titles are read, to be closed", func() bool {
			now, _ := openFiles(t)
			files[i] = min(files[i], now)
			return i == 0 || files[1] <= files[0]
		})
	}
	p.CloseStdin()
	p.WaitOK()
	tr.wait()
	if files[1] > files[0] {
		t.Errorf("%d files are open with %d programs, %d with %d", files[0], some, files[1], some+more)
	}
}
