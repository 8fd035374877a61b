// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// What a program calls itself is not acted upon by the terminal that phasetrace's
// messages and errors go to.
func TestMessagesAreEscaped(t *testing.T) {
	testenv.BPF(t)
	path := filepath.Join(t.TempDir(), "\x1b[2Jevil")
	program, err := os.ReadFile(fixture.Build(t, "phases.c"))
	if err == nil {
		err = os.WriteFile(path, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := fixture.Start(t, path, "1", "1", "1", "0")
	p.Expect("ready")
	pid := strconv.Itoa(p.Pid())
	tracer := startPhasetrace(t, nil, "-p", pid, "--gpu", "off")
	failed := looked("-p", pid, "--gpu", "off", "--no-wait", "--pair", "no:one/two")
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	said := tracer.rest()
	_ = tracer.Wait()
	if !strings.Contains(said, `attached to \x1b[2Jevil`) || strings.Contains(said, "\x1b") {
		t.Errorf("messages %q", said)
	}
	if failed.status != statusFailed || !strings.Contains(failed.err, `\x1b[2Jevil`) || strings.Contains(failed.err, "\x1b") {
		t.Errorf("status %d, error %q", failed.status, failed.err)
	}
}
