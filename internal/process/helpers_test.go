// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// helperVar makes the test binary do one thing as another process.
const helperVar = "PHASETRACE_TARGET_HELPER"

var helpers = map[string]func() error{}

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVar); name != "" {
		os.Unsetenv(helperVar)
		if err := helpers[name](); err != nil {
			fmt.Fprintf(os.Stderr, "helper %s: %v\n", name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(prebuildVar); dir != "" {
		if err := prebuild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(built.dir)
		os.Exit(code)
	}))
}

// helper prepares this binary to run as the named helper. The executable is
// reached by a link that other users can follow, too.
func helper(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), helperVar+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// need fails the test under PHASETRACE_REQUIRE_BPF=1, else skips it.
func need(t testing.TB, ok bool, what string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("PHASETRACE_REQUIRE_BPF") == "1" {
		t.Fatalf("this test needs %s", what)
	}
	t.Skipf("needs %s", what)
}

func needRoot(t testing.TB) {
	t.Helper()
	need(t, os.Geteuid() == 0 && holds("CAP_SYS_ADMIN") && holds("CAP_SYS_PTRACE"), "root")
}

// library puts a library at a path.
func library(t testing.TB, at string) {
	t.Helper()
	copyFile(t, fixture(t, "one.so"), at)
}

// copyFile copies a program.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// program is a running fixture.
type program struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	marker uint64 // address of marker()
	pid    int    // as we see it
	own    int    // as it sees itself
}

// start starts a command that is driven over its standard streams; it ends with the
// test.
func start(t testing.TB, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, cmd: cmd}
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	p.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end() })
	p.pid = cmd.Process.Pid
	return p
}

// run starts a fixture and waits until it is ready; it ends with the test.
func run(t testing.TB, cmd *exec.Cmd) *program {
	t.Helper()
	p := start(t, cmd)
	p.marker = uint64(p.number("marker"))
	p.own = p.number("ready")
	return p
}

func (p *program) end() {
	if p.cmd.ProcessState == nil {
		p.in.Close()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func (p *program) say(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

// expect reads a line and fails the test if it is another one.
func (p *program) expect(want string) {
	p.t.Helper()
	if line, err := p.out.ReadString('\n'); err != nil || line != want+"\n" {
		p.t.Fatalf("program said %q, %v; want %q", line, err, want)
	}
}

// line reads a line that begins with key and a space, and returns what follows.
func (p *program) line(key string) string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("program ended before it said %q: %v", key, err)
	}
	value, ok := strings.CutPrefix(strings.TrimSpace(line), key+" ")
	if !ok {
		p.t.Fatalf("program said %q, want %q", line, key)
	}
	return value
}

func (p *program) number(key string) int {
	p.t.Helper()
	n, err := strconv.Atoi(p.line(key))
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// attach opens a process for the length of the test.
func attach(t testing.TB, pid int) *Process {
	t.Helper()
	p, err := Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// modules returns the modules, none of them unreadable, and the main one.
func modules(t testing.TB, p *Process) (all []Module, main *Module) {
	t.Helper()
	all, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Err != nil {
			t.Errorf("module %q: %v", all[i].Path, all[i].Err)
		}
		if all[i].Main {
			main = &all[i]
		}
	}
	if main == nil {
		t.Fatalf("no main module among %+v", all)
	}
	return all, main
}

// sameContents checks that a module opens as the file with these contents.
func sameContents(t testing.TB, m *Module, want string) {
	t.Helper()
	f, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(data) {
		t.Errorf("module %q opened as %q is another file than %s", m.Path, m.OpenPath, want)
	}
}

func find(all []Module, path string) *Module {
	for i := range all {
		if all[i].Path == path {
			return &all[i]
		}
	}
	return nil
}

// answer writes a helper's result for the test that started it.
func answer(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// ask runs a helper to its end and reads its result.
func ask(t testing.TB, cmd *exec.Cmd, v any) {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	if err := json.Unmarshal(out, v); err != nil {
		t.Fatalf("%v: %v in %q", cmd.Args, err, out)
	}
}
