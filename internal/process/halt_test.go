// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// grandchild starts a shell that starts a program, and returns the shell, what it
// prints and the program's PID.
func grandchild(t *testing.T, program string) (sh *exec.Cmd, out *bytes.Buffer, pid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to stop a process that is no child of ours")
	}
	sh = exec.Command("sh", "-c", program+` & echo $! >&3; wait $!; echo status $?`)
	out = new(bytes.Buffer)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sh.Stdout, sh.ExtraFiles = out, []*os.File{w}
	sh.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { _ = unix.Kill(-sh.Process.Pid, unix.SIGKILL) })
	line := make([]byte, 32)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(line[:n]))); err != nil {
		t.Fatal(err)
	}
	return sh, out, pid
}

// state returns the letter that stands for a process's state; "" when it is gone.
func state(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	st, err := parseStat(data)
	if err != nil {
		return ""
	}
	return string(st.State)
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// A process stops, uses no CPU, and goes on when it is released; its parent sees
// nothing of it.
func TestHalt(t *testing.T) {
	sh, out, pid := grandchild(t, `sh -c 'while [ ! -e /proc/$PPID/nothing ]; do :; done'`)
	h := NewHalter(time.Hour)
	defer h.Close()
	if err := h.Halt(pid); err != nil {
		t.Fatal(err)
	}
	if err := h.Halt(pid); err != nil {
		t.Errorf("halting twice: %v", err)
	}
	until(t, "the stop", func() bool { return state(pid) == "t" })
	h.Release(pid)
	until(t, "going on", func() bool { return state(pid) == "R" })
	h.Release(pid) // again, and of somebody who is not halted
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := sh.Wait(); err != nil || out.String() != "status 143\n" {
		t.Errorf("the parent was told %q, %v", out, err)
	}
}

// Nobody is stopped for longer than the limit, and a halter that is closed lets
// everybody go.
func TestHaltEnds(t *testing.T) {
	for name, end := range map[string]struct {
		limit time.Duration
		end   func(*Halter)
	}{
		"limit": {20 * time.Millisecond, func(*Halter) {}},
		"close": {time.Hour, (*Halter).Close},
	} {
		t.Run(name, func(t *testing.T) {
			sh, out, pid := grandchild(t, "sleep 0.1")
			h := NewHalter(end.limit)
			defer h.Close()
			if err := h.Halt(pid); err != nil {
				t.Fatal(err)
			}
			end.end(h)
			if err := sh.Wait(); err != nil || out.String() != "status 0\n" {
				t.Errorf("the parent was told %q, %v", out, err)
			}
		})
	}
}

// A process that is killed while it is stopped ends, and its parent learns how.
func TestHaltKilled(t *testing.T) {
	sh, out, pid := grandchild(t, "sleep 1000")
	h := NewHalter(50 * time.Millisecond)
	defer h.Close()
	if err := h.Halt(pid); err != nil {
		t.Fatal(err)
	}
	until(t, "the stop", func() bool { return state(pid) == "t" })
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := sh.Wait(); err != nil || out.String() != "status 137\n" {
		t.Errorf("the parent was told %q, %v", out, err)
	}
}

// A signal that comes while a process stops is not lost.
func TestHaltPassesSignalsOn(t *testing.T) {
	sh, out, pid := grandchild(t, `sh -c 'trap "exit 7" USR1; while :; do :; done'`)
	h := NewHalter(time.Hour)
	defer h.Close()
	until(t, "the trap", func() bool { return caught(t, pid, unix.SIGUSR1) })
	if err := h.Halt(pid); err != nil {
		t.Fatal(err)
	}
	until(t, "the stop", func() bool { return state(pid) == "t" })
	if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	h.Release(pid)
	if err := sh.Wait(); err != nil || out.String() != "status 7\n" {
		t.Errorf("the parent was told %q, %v", out, err)
	}
}

// caught reports whether a process has a handler for a signal.
func caught(t *testing.T, pid int, sig unix.Signal) bool {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "SigCgt:\t")
	mask, err := strconv.ParseUint(rest[:16], 16, 64)
	return err == nil && mask&(1<<(sig-1)) != 0
}

// A child of our own is left alone: whoever waits for it must get its status. So
// is a process that somebody else traces.
func TestHaltRefused(t *testing.T) {
	h := NewHalter(time.Hour)
	defer h.Close()
	own := exec.Command("sleep", "1000")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	defer own.Wait()
	defer own.Process.Kill()
	if err := h.Halt(own.Process.Pid); err == nil {
		t.Error("a child of our own was halted")
	}
	_, _, pid := grandchild(t, "sleep 1000")
	other := NewHalter(time.Hour)
	defer other.Close()
	if err := other.Halt(pid); err != nil {
		t.Fatal(err)
	}
	if err := h.Halt(pid); err == nil {
		t.Error("a process that somebody else traces was halted")
	}
	other.Release(pid)
}
