// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

const nameUnread = "(unreadable)"

// tally counts the proper scopes of each process by path, and the made ones.
func tally(bs []Boundary) (proper map[int]map[string]int, synthetic int) {
	proper = make(map[int]map[string]int)
	for i := range bs {
		b := &bs[i]
		if b.Synthetic != ReasonNone {
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
		if m.name == "no-constants" {
			continue // says nothing of forks
		}
		t.Run(m.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "forkloop.c"), fmt.Sprint(children), fmt.Sprint(phases))
			p.Expect("ready")
			tr := attach(t, Options{PIDs: []int{p.Pid()}, Follow: true, Without: m.without})
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
					n += paths[nameUnread] // a page that the child has not touched itself
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
		if m.name == "no-constants" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "forktrace.c"), "2000")
			p.Expect("ready")
			tr := attach(t, Options{PIDs: []int{p.Pid()}, Without: m.without})
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
			if m.name == "no-constants" {
				continue
			}
			t.Run(fmt.Sprintf("follow=%v/%s", follow, m.name), func(t *testing.T) {
				p := fixture.Start(t, fixture.Build(t, "exec.c"))
				p.Expect("ready")
				tr := attach(t, Options{PIDs: []int{p.Pid()}, Follow: follow, Without: m.without})
				p.WriteLine("go")
				p.Expect(fmt.Sprintf("done %d", p.Pid()))
				p.WaitOK()
				sum := tr.wait()
				wantBoundaries(t, tr.boundaries,
					"enter before", "enter before / gone",
					"exit before / gone (exec)", "exit before (exec)",
					"enter after", "exit after")
				if sum.Received != 4 || sum.ViolationTotal != 0 || sum.Orphans != 0 {
					t.Errorf("%d markers, %d violations, %d orphans; want 4, 0, 0", sum.Received, sum.ViolationTotal, sum.Orphans)
				}
			})
		}
	}
}

// wantBoundaries compares boundaries with lines such as "exit a / b (exec)".
func wantBoundaries(t *testing.T, got []Boundary, want ...string) {
	t.Helper()
	var lines []string
	for i := range got {
		lines = append(lines, line(&got[i]))
	}
	if g, w := strings.Join(lines, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("boundaries:\n%s\nwant:\n%s", g, w)
	}
}

func line(b *Boundary) string {
	action := "enter "
	if b.Action == recorder.Exit {
		action = "exit "
	}
	text := action + b.Path.String()
	if b.Synthetic != ReasonNone {
		text += fmt.Sprintf(" (%s)", b.Synthetic)
	}
	return text
}
