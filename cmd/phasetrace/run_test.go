// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/phasetrace/phasetrace/internal/testenv"
)

// talkative says which signal it gets, and what it hears.
const talkative = `trap 'echo got TERM; exit 7' TERM; trap 'echo got INT; exit 8' INT
echo started
read line
echo heard $line
exit 5`

// A command that "run" started gets the signal that ends the trace, and
// goes on when anything else ends it; phasetrace's exit status is its own.
func TestRunEnds(t *testing.T) {
	testenv.BPF(t)
	for _, tt := range []struct {
		name   string
		signal os.Signal
		flags  []string
		says   string
		status int
	}{
		{"SIGTERM", syscall.SIGTERM, nil, "got TERM", 7},
		{"SIGINT", os.Interrupt, nil, "got INT", 8},
		{"duration", nil, []string{"-d", "1ms"}, "heard you", 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, toCommand, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer toCommand.Close()
			fromCommand, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer fromCommand.Close()
			args := []string{"run", "-f", "--gpu", "off", "-o", filepath.Join(t.TempDir(), "out.txt")}
			args = append(append(args, tt.flags...), "--", "sh", "-c", talkative)
			tracer := startPhasetraceWith(t, in, out, args...)
			in.Close()
			out.Close()
			lines := bufio.NewScanner(fromCommand)
			expect := func(want string) {
				t.Helper()
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("the command said %q, want %q: %v", lines.Text(), want, lines.Err())
				}
			}
			expect("started")
			if tt.signal != nil {
				if err := tracer.Process.Signal(tt.signal); err != nil {
					t.Fatal(err)
				}
			} else {
				tracer.await("tracing is over; waiting for process")
				if _, err := toCommand.WriteString("you\n"); err != nil {
					t.Fatal(err)
				}
			}
			expect(tt.says)
			said := tracer.rest()
			_ = tracer.Wait()
			if got := tracer.ProcessState.ExitCode(); got != tt.status {
				t.Errorf("exit status %d, want %d: %s", got, tt.status, strings.TrimSpace(said))
			}
		})
	}
}
