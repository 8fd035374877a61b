// SPDX-License-Identifier: Apache-2.0

package session

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// copyOf makes a program of its own of a fixture.
func copyOf(t *testing.T, source, path string) uint64 {
	t.Helper()
	text, err := os.ReadFile(fixture.Build(t, source))
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o755)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Ino
}

func startProgram(t *testing.T, path string) *fixture.Proc {
	t.Helper()
	p := fixture.StartCmd(t, exec.Command(path))
	p.Expect("ready")
	return p
}

func live(p *fixture.Proc) {
	p.WriteLine("go")
	p.Expect("inside")
	p.WriteLine("exit")
	p.Expect("done")
	p.WaitOK()
}

// A wanted program that is replaced by another file is traced as before; a process
// that has come for an inode number alone is let go of.
func TestWantedExecutables(t *testing.T) {
	testenv.BPF(t)
	dir := t.TempDir()
	server, other := filepath.Join(dir, "server"), filepath.Join(dir, "other")
	copyOf(t, "stays.c", server)
	number := copyOf(t, "stays.c", other)
	first := startProgram(t, server)
	tr := attach(t, []int{first.Pid()}, Config{Follow: true, Executables: []string{server}})
	w := tr.session.watcher
	live(first)

	copyOf(t, "stays.c", server) // an upgrade, which the next sweep notices
	w.mu.Lock()
	w.lookForRunning()
	err := w.tracer.Want(number) // as if it had the number of server, on another file system
	w.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	second := startProgram(t, server)
	live(second)
	stranger := startProgram(t, other)
	live(stranger)
	tr.stop()

	phases, removed := make(map[int]int), false
	for i := range tr.boundaries {
		phases[tr.boundaries[i].Thread.Process.PID]++
	}
	starts := 0
	for _, c := range tr.processes {
		if c.Process.PID == second.Pid() && c.Started {
			starts++
		}
		removed = removed || c.Process.PID == stranger.Pid() && c.Removed
	}
	if starts != 1 {
		t.Errorf("the start of process %d is told %d times", second.Pid(), starts)
	}
	if phases[first.Pid()] != 6 || phases[second.Pid()] != 6 || phases[stranger.Pid()] != 0 || !removed {
		t.Errorf("boundaries %v, want 6 of %d and of %d; %d was let go of: %v",
			phases, first.Pid(), second.Pid(), stranger.Pid(), removed)
	}
}

// A process that the kernel has not told of is found by looking, which is told.
func TestWantedExecutableFoundLate(t *testing.T) {
	testenv.BPF(t)
	server := filepath.Join(t.TempDir(), "server")
	copyOf(t, "stays.c", server)
	first := startProgram(t, server)
	said := make(chan string, 100)
	tr := attach(t, []int{first.Pid()}, Config{Follow: true, Executables: []string{server}, Message: func(m string) { said <- m }})
	late := startProgram(t, server) // Want has not been called
	w := tr.session.watcher
	w.mu.Lock()
	w.lookForRunning()
	told := len(said) > 0
	w.mu.Unlock()
	live(late)
	live(first)
	tr.stop()
	n := 0
	for i := range tr.boundaries {
		if tr.boundaries[i].Thread.Process.PID == late.Pid() {
			n++
		}
	}
	if n != 6 || !told {
		t.Errorf("%d boundaries of the process that came late, want 6; told: %v", n, told)
	}
}
