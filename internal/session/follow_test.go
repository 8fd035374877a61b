// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

const nameUnread = "(unreadable)"

// unread is what names become that lie on pages which the program has not
// touched itself, where this run of the tests cannot fault them in.
func unread(t *testing.T) string {
	if testenv.Without(t).Sleepable {
		return nameUnread
	}
	return "no such name"
}

// tally counts the proper scopes of each process by path, and the made ones.
func tally(bs []stream.Boundary) (proper map[int]map[string]int, synthetic int) {
	proper = make(map[int]map[string]int)
	for i := range bs {
		b := &bs[i]
		if b.Synthetic != stream.ReasonNone {
			synthetic++
			continue
		}
		if b.Action != recorder.Exit {
			continue
		}
		pid := b.Thread.Process.PID
		if proper[pid] == nil {
			proper[pid] = make(map[string]int)
		}
		proper[pid][b.Path.String()]++
	}
	return proper, synthetic
}

// Every child of a forking program is traced from its first marker to its last.
func TestFollowForks(t *testing.T) {
	const children, phases = 300, 7
	for _, m := range modes {
		if m.name == "no-cpu-rings" {
			continue // says nothing of forks
		}
		t.Run(m.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "forkloop.c"), fmt.Sprint(children), fmt.Sprint(phases))
			p.Expect("ready")
			tr := attach(t, []int{p.Pid()}, Config{Follow: true, Without: m.without})
			p.WriteLine("go")
			p.Expect(fmt.Sprintf("done %d 0", children))
			p.WaitOK()
			sum := tr.wait()
			proper, synthetic := tally(tr.boundaries)
			if len(proper) != children || synthetic != 0 {
				t.Errorf("%d processes with phases, %d synthetic boundaries; want %d children and none", len(proper), synthetic, children)
			}
			for pid, paths := range proper {
				n := paths["child"]
				if m.without.Sleepable {
					n += paths[nameUnread]
				} else {
					n += paths[unread(t)]
				}
				if n != phases {
					t.Errorf("child %d: phases %v, want %d of \"child\"", pid, paths, phases)
				}
			}
			if sum.Received != 2*children*phases || sum.Lost+sum.LostOther != 0 {
				t.Errorf("%d received, %d lost; want %d and none", sum.Received, sum.Lost+sum.LostOther, 2*children*phases)
			}
			started, ended := 0, 0
			for _, c := range tr.processes {
				if c.Started {
					started++
				} else if c.Process.Parent == p.Pid() && c.HasExit && c.ExitCode == 0 {
					ended++
				}
			}
			if started != children || ended != children {
				t.Errorf("told of %d processes started and %d children ended, want %d of each", started, ended, children)
			}
		})
	}
}

// Without Follow no child is traced, and none is harmed: not by the probes it
// inherits, nor by their removal, nor by semaphores that stay up.
func TestNoFollow(t *testing.T) {
	for _, m := range modes {
		if m.name == "no-cpu-rings" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "forktrace.c"), "2000")
			p.Expect("ready")
			tr := attach(t, []int{p.Pid()}, Config{Without: m.without})
			p.WriteLine("go")
			unharmed := func() {
				for _, who := range []string{"parent", "child"} {
					line := p.ReadLine()
					if !strings.HasPrefix(line, who) || !strings.Contains(line, "corrupted 0") || who == "child" && !strings.HasSuffix(line, "status 0") {
						t.Errorf("%s: %s", who, line)
					}
				}
			}
			unharmed()
			sum := tr.stop()
			p.WriteLine("go")
			unharmed()
			p.CloseStdin()
			p.WaitOK()
			for i := range tr.boundaries {
				if pid := tr.boundaries[i].Thread.Process.PID; pid != p.Pid() {
					t.Fatalf("process %d was traced, want %d only", pid, p.Pid())
				}
			}
			if sum.Received == 0 || len(tr.processes) != 0 {
				t.Errorf("%d markers, told of processes %v", sum.Received, tr.processes)
			}
		})
	}
}

// A program that runs itself again is traced on, once: exec does not attach
// a second time what is attached.
func TestExecSameFile(t *testing.T) {
	for _, follow := range []bool{false, true} {
		for _, m := range modes {
			if m.name == "no-cpu-rings" {
				continue
			}
			t.Run(fmt.Sprintf("follow=%v/%s", follow, m.name), func(t *testing.T) {
				p := fixture.Start(t, fixture.Build(t, "exec.c"))
				p.Expect("ready")
				tr := attach(t, []int{p.Pid()}, Config{Follow: follow, Without: m.without})
				p.WriteLine("go")
				p.Expect(fmt.Sprintf("done %d", p.Pid()))
				p.WaitOK()
				sum := tr.wait()
				wantBoundaries(t, tr.boundaries,
					"enter before", "enter before / gone",
					"exit before / gone (exec)", "exit before (exec)",
					"enter after", "exit after")
				if sum.Received != 4 || sum.ViolationTotal != 0 || sum.Orphans != 0 {
					t.Errorf("%d markers, %d violations, %d orphans; want 4, 0, 0; notes %v", sum.Received, sum.ViolationTotal, sum.Orphans, sum.Notes)
				}
			})
		}
	}
}

// slowLooksNote tells of looks that are made again.
const slowLooksNote = "looks for markers that were given up"

// inTime runs a session in which programs are executed that nobody has looked at.
// One that gets to them late on a busy machine says so, and is run again. Where
// programs can wait, one of a few sessions must be in time.
func inTime(t *testing.T, session func(*testing.T) *stream.Summary) {
	t.Helper()
	testenv.BPF(t)
	features, err := loader.DetectFeatures(testenv.Without(t))
	if err != nil {
		t.Fatal(err)
	}
	tries := 5
	canWait := features.Sleepable && os.Getenv(fixture.PrebuiltEnv) == "" // prebuilt ones are static: nothing to wait in
	if !canWait {
		tries = 1
	}
	for range tries {
		sum := session(t)
		if len(sum.Notes) == 0 || t.Failed() {
			return
		}
		if !slices.ContainsFunc(sum.Notes, func(n stream.Note) bool {
			return strings.HasPrefix(n.What, "programs run by exec") || strings.HasPrefix(n.What, "markers hit while probes") ||
				os.Getenv(fixture.PrebuiltEnv) != "" && (strings.HasPrefix(n.What, "libraries loaded while tracing") || strings.HasPrefix(n.What, slowLooksNote)) ||
				strings.HasPrefix(n.What, "sites that could not be attached") // the program had ended
		}) {
			t.Fatalf("not late, and not in time: %v", sum.Notes)
		}
		t.Logf("not in time, and told: %v", sum.Notes)
	}
	if canWait {
		t.Error("never in time")
	}
}

// A target runs another program, which nobody has looked at: it waits until it
// is attached.
func TestExecOtherFile(t *testing.T) {
	execInTime(t, func(t *testing.T) *fixture.Proc {
		p := fixture.Start(t, fixture.Build(t, "exec.c"), fixture.Build(t, "exec.c"), "--second")
		p.Expect("ready")
		return p
	}, "done",
		"enter before", "enter before / gone",
		"exit before / gone (exec)", "exit before (exec)",
		"enter after", "exit after")
}

// execInTime traces a program that runs another one and then says that word and
// its PID, with and without Follow, and wants those boundaries.
func execInTime(t *testing.T, start func(*testing.T) *fixture.Proc, word string, want ...string) {
	testenv.BPF(t)
	for _, follow := range []bool{false, true} {
		session := func(t *testing.T) *stream.Summary {
			p := start(t)
			tr := attach(t, []int{p.Pid()}, Config{Follow: follow})
			p.WriteLine("go")
			p.Expect(fmt.Sprintf("%s %d", word, p.Pid()))
			p.WaitOK()
			sum := tr.wait()
			if sum.ViolationTotal != 0 || sum.Orphans != 0 {
				t.Errorf("%d violations, %d orphans", sum.ViolationTotal, sum.Orphans)
			}
			if len(sum.Notes) == 0 {
				wantBoundaries(t, tr.boundaries, want...)
			}
			return sum
		}
		t.Run(fmt.Sprintf("follow=%v", follow), func(t *testing.T) { inTime(t, session) })
	}
}

// Who follows a process it descends from does not follow itself, and so ends
// when that does.
func TestFollowNotItself(t *testing.T) {
	if line := ownLine(); !line[os.Getpid()] || !line[os.Getppid()] {
		t.Errorf("own line %v lacks %d or %d", line, os.Getpid(), os.Getppid())
	}
}

// wantBoundaries compares boundaries with lines such as "exit a / b (exec)".
func wantBoundaries(t *testing.T, got []stream.Boundary, want ...string) {
	t.Helper()
	var lines []string
	for i := range got {
		lines = append(lines, line(&got[i]))
	}
	if g, w := strings.Join(lines, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("boundaries:\n%s\nwant:\n%s", g, w)
	}
}

func line(b *stream.Boundary) string {
	action := "enter "
	if b.Action == recorder.Exit {
		action = "exit "
	}
	text := action + b.Path.String()
	if b.Synthetic != stream.ReasonNone {
		text += fmt.Sprintf(" (%s)", b.Synthetic)
	}
	return text
}

// startSpawn starts spawn.c and waits for it.
func startSpawn(t *testing.T, args ...string) *fixture.Proc {
	t.Helper()
	p := fixture.Start(t, fixture.Build(t, "spawn.c"), args...)
	p.Expect("ready")
	return p
}

// Threads that fork at the same time.
func TestFollowThreadsThatFork(t *testing.T) {
	const threads = 6
	p := startSpawn(t, "threads", fmt.Sprint(threads))
	tr := attach(t, []int{p.Pid()}, Config{Follow: true})
	p.WriteLine("go")
	p.Expect(fmt.Sprintf("done %d 0", threads*threads))
	p.WaitOK()
	tr.wait()
	proper, synthetic := tally(tr.boundaries)
	for pid, paths := range proper {
		if paths["child"]+paths[unread(t)] != 1 {
			t.Errorf("child %d: phases %v", pid, paths)
		}
	}
	if len(proper) != threads*threads || synthetic != 0 {
		t.Errorf("%d children with phases, %d synthetic boundaries; want %d and none", len(proper), synthetic, threads*threads)
	}
}

// A child outlives its parent: the session goes on until it ends.
func TestFollowOrphan(t *testing.T) {
	p := startSpawn(t, "orphan")
	tr := attach(t, []int{p.Pid()}, Config{Follow: true})
	p.WriteLine("go")
	p.WaitOK()
	var child int
	if _, err := fmt.Sscanf(p.ReadLine(), "orphan %d", &child); err != nil {
		t.Fatal(err)
	}
	if sum := tr.wait(); sum.EndReason != "target_exit" {
		t.Errorf("ended by %q", sum.EndReason)
	}
	if proper, _ := tally(tr.boundaries); proper[child]["orphan"]+proper[child][unread(t)] != 1 {
		t.Errorf("the orphan's phases: %v", proper)
	}
}

// A thread other than the main one runs exec: the process stays, its threads
// do not, and what it runs then is traced.
func TestExecFromThread(t *testing.T) {
	execInTime(t, func(t *testing.T) *fixture.Proc { return startSpawn(t, "thread-exec") }, "again",
		"enter of main", "enter of a thread",
		"exit of main (thread_exit)", "exit of a thread (exec)",
		"enter again", "exit again")
}

// Several targets of one session, each with what it has: two instances of one
// program and one of another.
func TestSeveralTargets(t *testing.T) {
	loops := fixture.Build(t, "forkloop.c")
	one := fixture.Start(t, fixture.Build(t, "exec.c"))
	two, three := fixture.Start(t, loops, "3", "2"), fixture.Start(t, loops, "2", "2")
	all := []*fixture.Proc{one, two, three}
	var pids []int
	for _, p := range all {
		p.Expect("ready")
		pids = append(pids, p.Pid())
	}
	tr := attach(t, pids, Config{Follow: true})
	for _, p := range all {
		p.WriteLine("go")
	}
	for _, p := range all {
		p.WaitOK()
	}
	tr.wait()
	proper, _ := tally(tr.boundaries)
	if proper[one.Pid()]["after"]+proper[one.Pid()][unread(t)] != 1 || len(proper) != 1+3+2 {
		t.Errorf("phases by process: %v; want one of exec.c and 5 children", proper)
	}
}

// A process that is no descendant of a target is not traced, although probes
// lie under the file that it runs.
func TestFollowOnlyDescendants(t *testing.T) {
	path := fixture.Build(t, "forkloop.c")
	mine, other := fixture.Start(t, path, "5", "2"), fixture.Start(t, path, "7", "2")
	mine.Expect("ready")
	other.Expect("ready")
	tr := attach(t, []int{mine.Pid()}, Config{Follow: true})
	other.WriteLine("go")
	other.Expect("done 7 0")
	other.WaitOK()
	mine.WriteLine("go")
	mine.Expect("done 5 0")
	mine.WaitOK()
	sum := tr.wait()
	if proper, _ := tally(tr.boundaries); len(proper) != 5 || sum.Received != 5*2*2 {
		t.Errorf("phases by process %v, %d markers; want 5 children with 4 markers each", proper, sum.Received)
	}
}

// Children that a target had before the attach are traced like later ones.
func TestFollowAdoptsChildren(t *testing.T) {
	shell := fixture.StartCmd(t, exec.Command("/bin/sh", "-c", fixture.Build(t, "exec.c")+"; true"))
	shell.Expect("ready")
	tr := attach(t, []int{shell.Pid()}, Config{Follow: true})
	shell.WriteLine("go")
	var child int
	if _, err := fmt.Sscanf(shell.ReadLine(), "done %d", &child); err != nil {
		t.Fatal(err)
	}
	shell.WaitOK()
	tr.wait()
	if proper, _ := tally(tr.boundaries); proper[child]["after"]+proper[child][unread(t)] != 1 {
		t.Errorf("phases %v, want \"after\" of process %d", proper, child)
	}
}

// A followed child runs a program that nobody has seen before: it waits until
// it is attached, so that its very first marker is traced. On a machine that
// does not get to it in time, that is reported.
func TestFollowExec(t *testing.T) {
	testenv.BPF(t)
	for _, how := range []string{"fork", "vfork", "spawn"} {
		session := func(t *testing.T) *stream.Summary {
			const programs = 8
			args := []string{how}
			for range programs {
				args = append(args, fixture.Build(t, "exec.c")) // each is a file of its own
			}
			p := startSpawn(t, args...)
			tr := attach(t, []int{p.Pid()}, Config{Follow: true})
			p.WriteLine("go")
			var pids []int
			for range programs {
				var pid int
				if _, err := fmt.Sscanf(p.ReadLine(), "done %d", &pid); err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
			p.Expect(fmt.Sprintf("done %d 0", programs))
			p.WaitOK()
			sum := tr.wait()
			proper, _ := tally(tr.boundaries)
			traced := 0
			for _, pid := range pids {
				traced += proper[pid]["after"] + proper[pid][unread(t)]
			}
			t.Logf("%d of %d programs were traced from their first marker; notes %v", traced, programs, sum.Notes)
			for _, n := range sum.Notes {
				if strings.HasPrefix(n.What, "programs run by exec") || strings.HasPrefix(n.What, "markers hit while probes") {
					traced += int(n.Count)
				}
			}
			if traced < programs {
				t.Errorf("%d programs were missed in silence", programs-traced)
			}
			return sum
		}
		t.Run(how, func(t *testing.T) { inTime(t, session) })
	}
}
