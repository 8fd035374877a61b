// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/demo"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/output/schema"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"phasetrace": func() { os.Exit(runMain()) },
	})
}

// TestScript runs testdata/script. Besides the usual commands, and the conditions
// [bpf] and [demo]:
//
//	fixture NAME SOURCE       builds internal/fixture/testdata/SOURCE as $NAME
//	start NAME ARG…           starts a fixture and sets $PID
//	tell NAME LINE            writes a line to it
//	expect NAME LINE          reads a line from it
//	finish NAME               ends its input, reads the rest and waits for it
//	fifo FILE                 makes a named pipe, to be given to --ready-file
//	await FILE                returns when somebody has written to that pipe
//	validate FILE             holds every line of FILE against the JSON Schema
//	status N phasetrace ARG…  runs phasetrace and wants exit status N
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Values[processes{}] = make(map[string]*fixture.Proc)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "demo": // the program is in this build
				return demo.Available, nil
			case "bpf": // programs can be loaded; where they must be, that is no question
				err := testenv.CanBPF()
				if err != nil && testenv.Required() {
					return false, fmt.Errorf("this machine must run this test, and cannot: %w", err)
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fixture":  buildFixture(t),
			"start":    startFixture(t),
			"tell":     func(ts *testscript.TestScript, _ bool, a []string) { proc(ts, a[0]).WriteLine(a[1]) },
			"expect":   func(ts *testscript.TestScript, _ bool, a []string) { proc(ts, a[0]).Expect(a[1]) },
			"finish":   finish,
			"fifo":     func(ts *testscript.TestScript, _ bool, a []string) { ts.Check(unix.Mkfifo(ts.MkAbs(a[0]), 0o600)) },
			"await":    func(ts *testscript.TestScript, _ bool, a []string) { ts.ReadFile(a[0]) },
			"validate": validate,
			"status":   wantStatus,
		},
	})
}

// scriptTB ends a script, not the whole test, when a fixture fails.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scriptTB) Fatalf(format string, args ...any) { s.ts.Fatalf(format, args...) }
func (s scriptTB) Fatal(args ...any)                 { s.ts.Fatalf("%s", fmt.Sprint(args...)) }

type processes struct{}

func proc(ts *testscript.TestScript, name string) *fixture.Proc {
	p := ts.Value(processes{}).(map[string]*fixture.Proc)[name]
	if p == nil {
		ts.Fatalf("no process %s was started", name)
	}
	return p
}

func finish(ts *testscript.TestScript, _ bool, a []string) {
	p := proc(ts, a[0])
	p.CloseStdin()
	p.ReadAll()
	p.WaitOK()
}

func buildFixture(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, a []string) {
		ts.Setenv(a[0], fixture.Build(scriptTB{t, ts}, a[1], a[2:]...))
	}
}

func startFixture(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, a []string) {
		p := fixture.Start(scriptTB{t, ts}, ts.Getenv(a[0]), a[1:]...)
		ts.Value(processes{}).(map[string]*fixture.Proc)[a[0]] = p
		ts.Setenv("PID", strconv.Itoa(p.Pid()))
	}
}

func validate(ts *testscript.TestScript, _ bool, a []string) {
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile(a[0]), "\n"), "\n")
	for i, line := range lines {
		if err := schema.Validate([]byte(line)); err != nil {
			ts.Fatalf("%s:%d: %v\n%s", a[0], i+1, err, line)
		}
	}
	fmt.Fprintf(ts.Stdout(), "%d lines are valid\n", len(lines))
}

func wantStatus(ts *testscript.TestScript, _ bool, a []string) {
	err := ts.Exec(a[1], a[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, _ := strconv.Atoi(a[0]); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// newFIFO makes a named pipe, to be given to --ready-file.
func newFIFO(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ready")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// awaitFIFO returns when somebody has written to the pipe.
func awaitFIFO(t *testing.T, path string) {
	t.Helper()
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
}
