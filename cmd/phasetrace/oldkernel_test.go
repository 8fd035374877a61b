// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// A kernel below the floor is refused before anything is done: one line says what
// it lacks and which Linux has it, no output is made and no command started. The
// matrix of kernels runs this on one that is too old, with the variable empty;
// elsewhere it is made to seem so.
func TestKernelTooOld(t *testing.T) {
	testenv.Require(t, os.Geteuid() == 0, "what the kernel lacks can be tried by root")
	if _, given := os.LookupEnv(loader.WithoutEnv); !given {
		t.Setenv(loader.WithoutEnv, "no-cookies")
	}
	p := fixture.Start(t, fixture.Build(t, "phases.c"), "1", "1", "1", "0")
	p.Expect("ready")
	dir := t.TempDir()
	started, output := filepath.Join(dir, "started"), filepath.Join(dir, "out.jsonl")
	for _, args := range [][]string{
		{"-p", strconv.Itoa(p.Pid()), "-o", output},
		{"run", "-o", output, "--", "touch", started},
	} {
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Args[0] = "phasetrace"
		var stderr strings.Builder
		cmd.Stderr = &stderr
		err := cmd.Run()
		if cmd.ProcessState.ExitCode() != statusFailed {
			t.Errorf("%q: exit status %v, want %d", args, err, statusFailed)
		}
		if line := stderr.String(); !strings.Contains(line, "this kernel lacks what phasetrace needs: ") || strings.Count(line, "\n") != 1 ||
			!strings.Contains(line, "cookies of BPF probes (Linux 5.15)") || !strings.HasSuffix(line, "use Linux 5.15 or later\n") {
			t.Errorf("%q: standard error %q, want one line that says what is missing", args, line)
		}
		for _, made := range []string{output, started} {
			if _, err := os.Stat(made); err == nil {
				t.Errorf("%q: %s was made", args, filepath.Base(made))
			}
		}
	}
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
}
