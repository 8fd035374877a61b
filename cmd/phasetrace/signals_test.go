// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// The first SIGTERM ends the wait for a pipe's reader: that of the output before
// anything was traced, that of the ready file like any other session.
func TestSignalWhileNobodyReads(t *testing.T) {
	testenv.BPF(t)
	for _, test := range []struct {
		flag, want string
		status     int
	}{
		{"-o", "interrupted before anybody read the pipe: start its reader first", statusFailed},
		{"--ready-file", "warning: ready file: open .*: interrupted before anybody read the pipe", statusFine},
	} {
		t.Run(test.flag, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "phases.c"), "1", "1", "1", "0")
			p.Expect("ready")
			cmd := exec.Command("/proc/self/exe", "-p", strconv.Itoa(p.Pid()), "--gpu", "off", test.flag, newFIFO(t))
			cmd.Args[0] = "phasetrace"
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer hung.Stop()
			lines := bufio.NewReader(stderr)
			for line := ""; !strings.Contains(line, "waiting for somebody to read "); {
				if line, err = lines.ReadString('\n'); err != nil {
					_ = cmd.Wait()
					t.Fatalf("it never said that it waits: %v, %s", err, cmd.ProcessState)
				}
			}
			if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
				t.Error(err)
			}
			said, _ := io.ReadAll(lines)
			_ = cmd.Wait()
			if cmd.ProcessState.ExitCode() != test.status || !regexp.MustCompile(test.want).Match(said) {
				t.Errorf("%s, want status %d; it said %q, want %q", cmd.ProcessState, test.status, said, test.want)
			}
			if test.status == statusFine && !strings.Contains(stdout.String(), "ended by interrupt") {
				t.Errorf("no summary: %q", &stdout)
			}
			p.WriteLine("go")
			p.ReadAll()
			p.WaitOK()
		})
	}
}
