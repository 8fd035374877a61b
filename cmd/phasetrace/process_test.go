// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/apart"
)

// tracer is a phasetrace in a process of its own.
type tracer struct {
	*exec.Cmd
	t        *testing.T
	messages chan string // lines of its standard error; closed at its end
}

// startPhasetrace starts one and returns when it is attached. A nil stdout is
// the null device.
func startPhasetrace(t *testing.T, stdout *os.File, args ...string) *tracer {
	t.Helper()
	return startPhasetraceWith(t, nil, stdout, args...)
}

// startPhasetraceWith is startPhasetrace with a standard input as well.
func startPhasetraceWith(t *testing.T, stdin, stdout *os.File, args ...string) *tracer {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	at := 0 // flags come after a command's name, and before what "run" starts
	if !strings.HasPrefix(args[0], "-") {
		at = 1
	}
	cmd := exec.Command("/proc/self/exe", slices.Insert(slices.Clone(args), at, "--ready-file", ready)...)
	cmd.Args[0] = "phasetrace"
	if stdin != nil { // a nil file is no nil interface
		cmd.Stdin = stdin
	}
	if stdout != nil {
		cmd.Stdout = stdout
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Open for writing here too: the read below ends when phasetrace has written,
	// or, by the close, when it has ended.
	fifo, err := os.OpenFile(ready, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tr := &tracer{Cmd: cmd, t: t, messages: make(chan string, 100)}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			tr.messages <- lines.Text()
		}
		close(tr.messages)
		fifo.Close()
	}()
	if _, err := fifo.Read(make([]byte, 1)); err != nil {
		t.Fatalf("phasetrace did not start: %s", tr.rest())
	}
	return tr
}

// await reads messages up to one with a text in it.
func (tr *tracer) await(text string) {
	tr.t.Helper()
	for m := range tr.messages {
		tr.t.Log(m)
		if strings.Contains(m, text) {
			return
		}
	}
	tr.t.Fatalf("phasetrace never said %q", text)
}

// rest is what it says until its end.
func (tr *tracer) rest() string {
	var out []string
	for m := range tr.messages {
		out = append(out, m)
	}
	return strings.Join(out, "\n")
}

// worker is the process that traces.
func (tr *tracer) worker() int {
	tr.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if pid := apart.WorkerOf(tr.Process.Pid); pid != 0 {
			return pid
		}
	}
	tr.t.Fatal("phasetrace has no second process")
	return 0
}

// end waits until phasetrace has ended by itself, which must be fine.
func (tr *tracer) end() {
	tr.t.Helper()
	said := tr.rest()
	if err := tr.Wait(); err != nil {
		tr.t.Fatalf("phasetrace: %v: %s", err, said)
	}
}
