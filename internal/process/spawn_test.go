// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// spawn holds a command whose output the returned function gives after its end.
func spawn(t *testing.T, env []string, args ...string) (*Spawned, func() string) {
	t.Helper()
	in, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Spawn(args, env, []*os.File{in, write, os.Stderr})
	in.Close()
	write.Close()
	if err != nil {
		read.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		read.Close()
		_ = s.Kill()
		_, _ = s.Wait()
	})
	return s, func() string {
		data, err := io.ReadAll(read)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

func finish(t *testing.T, s *Spawned) int {
	t.Helper()
	state, err := s.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return ExitStatus(state)
}

// A released program finds itself exactly as one that nobody held.
func TestSpawnLeavesNoTrace(t *testing.T) {
	exe := fixture(t, "state")
	plain := exec.Command(exe, "7")
	plain.Env = []string{"A=1"}
	plain.Stderr = os.Stderr
	want, err := plain.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatal(err)
	}
	s, output := spawn(t, []string{"A=1"}, exe, "7")
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	got := output()
	if status := finish(t, s); status != 7 {
		t.Errorf("status %d", status)
	}
	// The count of queued signals of the user is shared with other processes.
	if diff := cmp.Diff(without(string(want), "SigQ:"), without(got, "SigQ:")); diff != "" {
		t.Errorf("a plain exec (-) and ours (+) differ:\n%s", diff)
	}
	for _, line := range []string{"TracerPid:\t0", "SigBlk:\t0000000000000000", "ShdPnd:\t0000000000000000", "group 1"} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in:\n%s", line, got)
		}
	}
}

func without(text, key string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, key) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestSpawnHolds(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ran")
	s, _ := spawn(t, nil, "/bin/sh", "-c", `: > "$0"`, mark)
	p := attach(t, s.PID)
	all, main := modules(t, p)
	sameContents(t, main, "/bin/sh")
	// The program and its linker are there, its libraries are not.
	if len(all) > 2 || len(p.Cmdline) != 4 || p.Parent != os.Getpid() {
		t.Errorf("%+v %+v", p, all)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it ran before it was released")
	}
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(); err != nil {
		t.Errorf("second release: %v", err)
	}
	if status := finish(t, s); status != 0 {
		t.Errorf("status %d", status)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	if _, err := s.Wait(); err != nil {
		t.Errorf("second wait: %v", err)
	}
	if err := s.Signal(unix.SIGTERM); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestSpawnEnds(t *testing.T) {
	t.Run("signal while held acts after the release", func(t *testing.T) {
		s, output := spawn(t, nil, "/bin/echo", "ran")
		if err := s.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
		if status := finish(t, s); status != 128+15 || output() != "" {
			t.Errorf("status %d", status)
		}
	})
	t.Run("killed while held", func(t *testing.T) {
		s, _ := spawn(t, nil, "/bin/echo", "ran")
		p := attach(t, s.PID)
		if err := p.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if err := s.Release(); !errors.Is(err, ErrNoProcess) {
			t.Errorf("release: %v", err)
		}
		if status := finish(t, s); status != 128+9 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("Kill", func(t *testing.T) {
		s, output := spawn(t, nil, "/bin/echo", "ran")
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if status := finish(t, s); status != 128+9 || output() != "" {
			t.Errorf("status %d", status)
		}
		if err := s.Kill(); err != nil {
			t.Errorf("kill after the end: %v", err)
		}
	})
	t.Run("wait while held", func(t *testing.T) {
		s, output := spawn(t, nil, "/bin/echo", "ran")
		var status int
		var waiter sync.WaitGroup
		waiter.Go(func() { status = finish(t, s) })
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
		waiter.Wait()
		if status != 0 || output() != "ran\n" {
			t.Errorf("status %d", status)
		}
	})
}

func TestSpawnForwardsSignals(t *testing.T) {
	s, output := spawn(t, nil, "/bin/sh", "-c", `trap 'echo got; exit 3' USR1; kill -USR1 $PPID; while :; do :; done`)
	stop := s.ForwardSignals(unix.SIGUSR1)
	defer stop()
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if status := finish(t, s); status != 3 {
		t.Errorf("status %d", status)
	}
	stop()
	if got := output(); got != "got\n" {
		t.Errorf("output %q", got)
	}
}

func TestSpawnManyAtOnce(t *testing.T) {
	var all []*Spawned
	for i := range 20 {
		s, _ := spawn(t, nil, "/bin/sh", "-c", fmt.Sprintf("exit %d", i))
		all = append(all, s)
	}
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() {
			if err := s.Release(); err != nil {
				t.Error(err)
			}
			if status := finish(t, s); status != i {
				t.Errorf("status %d, want %d", status, i)
			}
		})
	}
	group.Wait()
}

func TestSpawnErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("locked", "#!/bin/sh\n", 0o644)
	write("lost", "#!/no/such/interpreter\n", 0o755)
	write("garbled", "\x7fELF\x02\x01\x01 and nothing more", 0o755)
	write("plain", "exit 5\n", 0o755)
	env := []string{"PATH=/nonexistent:" + dir + ":/usr/bin:/bin"}
	for _, c := range []struct {
		name   string
		status int
	}{
		{"no-such-command-anywhere", StatusNotFound},
		{"/no/such/file", StatusNotFound},
		{"", StatusNotFound},
		{dir + "/locked/below", StatusNotFound},
		{dir, StatusNotExecutable},
		{dir + "/locked", StatusNotExecutable},
		{"locked", StatusNotExecutable},
		{"lost", StatusNotExecutable},
		{"/dev/null", StatusNotExecutable},
	} {
		s, err := Spawn([]string{c.name}, env, nil)
		var command *CommandError
		if !errors.As(err, &command) || command.Status != c.status {
			t.Errorf("%q: %v, %v; want status %d", c.name, s, err, c.status)
		}
	}
	for _, c := range []Command{{}, {Args: []string{"true"}, Dir: dir + "/none"}} {
		var command *CommandError
		if _, err := c.Start(); err == nil || errors.As(err, &command) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	// As execvp: no known format, so the shell runs it.
	s, _ := spawn(t, env, "plain")
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if status := finish(t, s); status != 5 {
		t.Errorf("script without an interpreter line: status %d", status)
	}
}

func init() {
	// Looks for commands; answers the status and the text of each error.
	helpers["look"] = func() error {
		var found []string
		for _, name := range os.Args[1:] {
			path, err := LookCommand(name, "", os.Environ())
			var command *CommandError
			if errors.As(err, &command) {
				path = fmt.Sprintf("%d %v", command.Status, err)
			}
			found = append(found, path)
		}
		return answer(found)
	}
}

// A folder of PATH that may not be looked into hides no command: one that is
// nowhere else is missing, and the folder is named.
func TestCommandBehindUnreadableFolder(t *testing.T) {
	dir, closed := t.TempDir(), t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir + "/there": 0o755, dir + "/locked": 0o644, closed + "/there": 0o755} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) }) // to be removed
	cmd := helper("look", "nowhere", "there", "locked", closed+"/there")
	cmd.Env = append(cmd.Env, "PATH="+closed+":"+dir)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var got []string
	ask(t, cmd, &got)
	if len(got) != 4 || !strings.HasPrefix(got[0], "127 ") || !strings.Contains(got[0], closed) ||
		got[1] != dir+"/there" || !strings.HasPrefix(got[2], "126 ") || !strings.HasPrefix(got[3], "126 ") {
		t.Errorf("%q; want 127 with the closed folder named, the command, 126, and 126", got)
	}
}

func TestSpawnDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\npwd -P; id -u\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s, err := Command{Args: []string{"tool"}, Env: []string{"PATH=/nonexistent::/bin:/usr/bin"}, Dir: dir,
		Files: []*os.File{nil, write, os.Stderr}}.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(read)
	if want := fmt.Sprintf("%s\n%d\n", dir, os.Getuid()); err != nil || string(out) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	finish(t, s)
}

func init() {
	// Holds a program and waits to be killed.
	helpers["holder"] = func() error {
		s, err := Spawn(os.Args[2:], nil, nil)
		if err != nil {
			return err
		}
		if os.Args[1] == "release" {
			if err := s.Release(); err != nil {
				return err
			}
		}
		fmt.Printf("marker 0\nready %d\n", s.PID)
		select {}
	}
}

// A tracer that is killed leaves no stopped program: one that was held has never
// run, one that was released runs on.
func TestSpawnSurvivesSIGKILL(t *testing.T) {
	t.Run("held", func(t *testing.T) {
		mark := filepath.Join(t.TempDir(), "ran")
		holder := run(t, helper("holder", "hold", "/bin/sh", "-c", `: > "$0"`, mark))
		p := attach(t, holder.own)
		holder.end()
		<-p.Done()
		if _, err := os.Stat(mark); err == nil {
			t.Error("the program ran")
		}
	})
	t.Run("released", func(t *testing.T) {
		dir := t.TempDir()
		mark, gate := filepath.Join(dir, "ran"), filepath.Join(dir, "gate")
		if err := unix.Mkfifo(gate, 0o600); err != nil {
			t.Fatal(err)
		}
		holder := run(t, helper("holder", "release", "/bin/sh", "-c", `read go < "$1"; : > "$0"`, mark, gate))
		p := attach(t, holder.own)
		holder.end()
		// Blocks until the program itself has come to its read.
		if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if _, err := os.Stat(mark); err != nil {
			t.Errorf("the program did not run on: %v", err)
		}
	})
}
