// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// --exe traces a program across restarts: whoever starts it, and from its first
// instruction on. Another program is left alone.
func TestExecutable(t *testing.T) {
	testenv.BPF(t)
	dir := t.TempDir()
	program, other := filepath.Join(dir, "server"), filepath.Join(dir, "other")
	for _, path := range []string{program, other} {
		text, err := os.ReadFile(fixture.Build(t, "stays.c"))
		if err == nil {
			err = os.WriteFile(path, text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	first := fixture.StartCmd(t, exec.Command(program))
	first.Expect("ready")
	out := filepath.Join(dir, "out.jsonl")
	atOnce := fixture.Build(t, "rank.c") // has 11 phases at once
	tracer := startPhasetrace(t, nil, "--exe", program, "--exe", atOnce, "--gpu", "off", "-o", out)
	tracer.await("attached to server (pid " + strconv.Itoa(first.Pid()) + ")")
	want := []int{first.Pid()}
	live := func(p *fixture.Proc) {
		p.WriteLine("go")
		p.Expect("inside")
		p.WriteLine("exit")
		p.Expect("done")
		p.WaitOK()
	}
	live(first)
	for i := range 3 { // nobody's children, of which the first starts when none runs
		p := fixture.StartCmd(t, exec.Command([]string{program, other, program}[i]))
		p.Expect("ready")
		if i != 1 {
			want = append(want, p.Pid())
		}
		live(p)
	}
	phases := make(map[int]int)
	for _, pid := range want {
		phases[pid] = 3
	}
	for range 3 {
		if os.Getenv(fixture.PrebuiltEnv) != "" {
			break // a static program is not held at its first instruction
		}
		p := fixture.StartCmd(t, exec.Command(atOnce))
		p.WaitOK()
		phases[p.Pid()] = 11
	}
	if err := tracer.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	tracer.end()
	exits := make(map[int]int)
	lines, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		var l struct {
			Event string `json:"event_type"`
			PID   int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Event == "phase_exit" {
			exits[l.PID]++
		}
	}
	if !maps.Equal(exits, phases) {
		t.Errorf("phases by process %v, want %v", exits, phases)
	}
}

// It waits for the first process of a program, and refuses what is none.
func TestExecutableThatIsNotThere(t *testing.T) {
	testenv.BPF(t)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	looked("--exe", script).want(t, statusUsage, "--exe "+script+": that is a script")
	looked("--exe", script+"x").want(t, statusUsage, "no such file")
	looked("--exe", "/etc/passwd").want(t, statusUsage, "--exe /etc/passwd: not the file of a program")
}

// Who traced a process that has ended is told how to go on with its program.
func TestRestartIsTold(t *testing.T) {
	testenv.BPF(t)
	program := fixture.Build(t, "stays.c")
	p := fixture.Start(t, program)
	p.Expect("ready")
	tracer := startPhasetrace(t, nil, "-p", strconv.Itoa(p.Pid()), "--gpu", "off")
	p.WriteLine("go")
	p.Expect("inside")
	p.WriteLine("exit")
	p.WaitOK()
	tracer.await("phasetrace: the process has ended, and the trace with it; to trace a program across restarts: phasetrace --exe " + program)
	tracer.end()
}
