// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// linking is a way in which programs come by their libraries.
type linking struct {
	name  string
	cc    string   // compiler, "" for the usual one
	flags []string // of programs
	// place puts what programs need into the folder they are run in, and returns
	// what goes before their names on the command line.
	place func(t *testing.T, dir string) []string
	// started: it says nothing of libraries before it has loaded the program.
	started bool
}

// privateLinker is where programs of some tests look for their dynamic linker,
// from their working directory.
const privateLinker = "libloader.so.7"

var linkings = []linking{
	{name: "musl", cc: "musl-gcc"},
	{name: "under another name", flags: []string{"-Wl,--dynamic-linker=" + privateLinker},
		place: func(t *testing.T, dir string) []string {
			copyLinker(t, systemLinker(t), dir, nil)
			return nil
		}},
	{name: "musl under another name", cc: "musl-gcc", flags: []string{"-Wl,--dynamic-linker=" + privateLinker},
		place: func(t *testing.T, dir string) []string {
			copyLinker(t, linkerOf(t, withCompiler(t, "musl-gcc", "dlopen.c")), dir, nil)
			return nil
		}},
	{name: "run with the program as its argument", place: func(t *testing.T, _ string) []string { return []string{systemLinker(t)} }},
	{name: "without the function by name", flags: []string{"-Wl,--dynamic-linker=" + privateLinker}, started: true,
		place: func(t *testing.T, dir string) []string {
			copyLinker(t, systemLinker(t), dir, func(b []byte) []byte {
				return bytes.ReplaceAll(b, []byte(debuggerHook+"\x00"), []byte("_dl_debug_xxxxx\x00"))
			})
			return nil
		}},
	{name: "static", flags: []string{"-static"}},
}

// withCompiler builds a program or library with another compiler.
func withCompiler(t *testing.T, cc, source string, flags ...string) string {
	t.Helper()
	if os.Getenv(fixture.PrebuiltEnv) != "" {
		t.Skip("short: needs compilers, and in how programs are linked the kernel has no part")
	}
	if cc == "" {
		return fixture.Build(t, source, flags...)
	}
	_, err := exec.LookPath(cc)
	testenv.Require(t, err == nil, cc+" is not installed: apt-get install musl-tools")
	before, set := os.LookupEnv("CC")
	os.Setenv("CC", cc)
	defer func() {
		if os.Unsetenv("CC"); set {
			os.Setenv("CC", before)
		}
	}()
	return fixture.Build(t, source, flags...)
}

// linkerOf returns the file of the dynamic linker that a program asks for.
func linkerOf(t *testing.T, program string) string {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			return string(bytes.TrimRight(name, "\x00"))
		}
	}
	t.Fatalf("%s asks for no dynamic linker", program)
	return ""
}

func systemLinker(t *testing.T) string {
	t.Helper()
	return linkerOf(t, withCompiler(t, "", "dlopen.c", "-ldl"))
}

// copyLinker puts a dynamic linker where programs look for a private one.
func copyLinker(t *testing.T, from, dir string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil && change != nil {
		changed := change(bytes.Clone(b))
		if len(changed) != len(b) || bytes.Equal(changed, b) {
			t.Fatalf("%s has nothing to change", from)
		}
		b = changed
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, privateLinker), b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// arrange builds a program that loads a library on demand, and returns what
// goes before the names of programs, and the command.
func (l linking) arrange(t *testing.T, dir string, flags ...string) (prefix, command []string) {
	t.Helper()
	testenv.BPF(t)
	if l.place != nil {
		prefix = l.place(t, dir)
	}
	program := withCompiler(t, l.cc, "dlopen.c", append(append([]string{"-ldl"}, l.flags...), flags...)...)
	library := withCompiler(t, l.cc, "libphase.c", asLibrary...)
	return prefix, append(append([]string{}, prefix...), program, library)
}

// loadLibrary makes the program load its library and run phases in it once it is
// attached.
func loadLibrary(t *testing.T, told *messages, order func(line, want string)) {
	t.Helper()
	order("load", "loaded")
	t.Log(told.await(t, lateLibrary, 1))
	order("library 40", "")
}

// libraryPhases checks that every phase after the attach was seen.
func libraryPhases(t *testing.T, tr *tracing) {
	t.Helper()
	if got := scopesByFile(tr.boundaries)["libphase.so"]; got != 40 {
		t.Errorf("%d phases of the library, want 40", got)
	}
}

// A library that comes later is traced, whatever loads it.
func TestLaterLibraryOfAnyLinker(t *testing.T) {
	for _, l := range linkings {
		t.Run(l.name, func(t *testing.T) {
			dir := t.TempDir()
			_, command := l.arrange(t, dir)
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Dir = dir
			p := fixture.StartCmd(t, cmd)
			p.Expect("ready")
			told := newMessages()
			tr := attach(t, []int{p.Pid()}, Config{Message: told.add})
			loadLibrary(t, told, func(line, want string) {
				t.Helper()
				p.WriteLine(line)
				if got := p.ReadLine(); got != want && want != "" {
					t.Fatalf("%s: the program said %q, want %q", line, got, want)
				}
			})
			p.CloseStdin()
			p.WaitOK()
			tr.wait()
			libraryPhases(t, tr)
		})
	}
}

// A program that is started, and whose only markers are in a library that it
// loads by itself, is traced and not refused.
func TestRunWithMarkersLoadedLater(t *testing.T) {
	for _, l := range linkings {
		if l.started {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			dir := t.TempDir()
			_, command := l.arrange(t, dir, "-DPHASETRACE_DISABLE")
			spawned, order := spawnTalking(t, process.Command{Args: command, Dir: dir})
			told := newMessages()
			tr := attachTargets(t, []Target{{Spawned: spawned}}, Config{Message: told.add})
			order("", "ready")
			loadLibrary(t, told, order)
			order("end", "")
			tr.wait()
			libraryPhases(t, tr)
		})
	}
}

// spawnTalking holds a program. The function writes a line, unless it is empty,
// and reads one; "end" ends the program's input.
func spawnTalking(t *testing.T, c process.Command) (*process.Spawned, func(line, want string)) {
	t.Helper()
	in, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Files = []*os.File{in, out, os.Stderr}
	spawned, err := c.Start()
	in.Close()
	out.Close()
	t.Cleanup(func() {
		write.Close()
		read.Close()
		if spawned != nil {
			_ = spawned.Kill()
			_, _ = spawned.Wait()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(read)
	return spawned, func(line, want string) {
		t.Helper()
		switch line {
		case "":
		case "end":
			write.Close()
			if state, err := spawned.Wait(); err != nil || !state.Success() {
				t.Errorf("the program ended with %v, %v", state, err)
			}
			return
		default:
			if _, err := fmt.Fprintln(write, line); err != nil {
				t.Fatal(err)
			}
		}
		got, err := lines.ReadString('\n')
		if got = strings.TrimSuffix(got, "\n"); err != nil || got != want && want != "" {
			t.Fatalf("%s: the program said %q, %v; want %q", line, got, err, want)
		}
	}
}

// A followed program that runs another one with the same linker is attached
// while that waits at its first instruction, and the library that it loads
// after that too; with a linker that is run with the program as its argument,
// also for the second program.
func TestExecWaitsInAnyLinker(t *testing.T) {
	for _, l := range linkings {
		if l.name == "static" || l.started {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			inTime(t, func(t *testing.T) *stream.Summary {
				dir := t.TempDir()
				prefix, command := l.arrange(t, dir)
				args := append([]string{}, prefix...)
				for range 2 { // runs itself, which runs the command
					args = append(append(args, withCompiler(t, l.cc, "exec.c", l.flags...)), prefix...)
				}
				args = append(args, command[len(prefix):]...)
				cmd := exec.Command(args[0], args[1:]...)
				cmd.Dir = dir
				p := fixture.StartCmd(t, cmd)
				p.Expect("ready")
				told := newMessages()
				tr := attach(t, []int{p.Pid()}, Config{Follow: true, Message: told.add})
				p.WriteLine("go") // for the first
				p.Expect("ready")
				p.WriteLine("go")
				p.Expect("ready")
				p.WriteLine("phases 3")
				p.ReadLine()
				p.CloseStdin()
				p.WaitOK()
				sum := tr.wait()
				if got := scopesByFile(tr.boundaries)["dlopen"]; got != 3 && len(sum.Notes) == 0 {
					t.Errorf("%d phases of the last program, want 3, and no word of it being late", got)
				}
				if len(sum.Notes) == 0 {
					t.Log(told.await(t, "which waited", 2))
				}
				return sum
			})
		})
	}
}

// A statically linked program that may load libraries with nobody noticing is
// told, once, with the remedy; one that cannot is not.
func TestStaticProgramIsTold(t *testing.T) {
	const remedy = "name it"
	advice := func(topic Topic) string {
		if topic == TopicLibrary {
			return remedy
		}
		return ""
	}
	for _, c := range []struct {
		name, source, cc string
		flags            []string
		want             int
	}{
		{"stripped", "dlopen.c", "", []string{"-ldl", "-static", "-s"}, 1},
		{"with symbols", "dlopen.c", "", []string{"-ldl", "-static"}, 0},
		{"without dlopen", "phases.c", "musl-gcc", []string{"-static", "-s"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			testenv.BPF(t)
			path := withCompiler(t, c.cc, c.source, c.flags...)
			var pids []int
			var procs []*fixture.Proc
			for range 2 {
				p := fixture.Start(t, path, "1")
				p.Expect("ready")
				procs, pids = append(procs, p), append(pids, p.Pid())
			}
			told := newMessages()
			tr := attach(t, pids, Config{Message: told.add, Advice: advice})
			for _, p := range procs {
				p.Kill()
			}
			tr.wait()
			got := 0
			for _, m := range told.all {
				if strings.Contains(m, remedy) && strings.Contains(m, path) {
					got++
				}
			}
			if got != c.want {
				t.Errorf("told %d times of %q in %q, want %d", got, remedy, told.all, c.want)
			}
		})
	}
}

// That nothing is known of the linker of a program that has made room for another
// one, or is over, is no news.
func TestLinkerOfFormerProgram(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "exec.c"), "/bin/cat")
	p.Expect("ready")
	proc, err := process.Open(p.Pid())
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	modules, err := proc.Modules()
	if err != nil {
		t.Fatal(err)
	}
	told := newMessages()
	w := &hooks{report: &reporter{cfg: &Config{Message: told.add}}}
	v := &view{proc: proc, modules: modules, linkerErr: io.ErrUnexpectedEOF}
	w.watchLibraries(&target{pid: p.Pid()}, v)
	if len(told.all) != 1 {
		t.Errorf("of a program that runs: %q, want one warning", told.all)
	}
	p.WriteLine("go")
	eventually(t, "the other program", func() bool { return proc.Refresh() == nil && filepath.Base(proc.Exe) != "exec" })
	w.watchLibraries(&target{pid: p.Pid()}, v)
	p.CloseStdin()
	p.WaitOK()
	w.watchLibraries(&target{pid: p.Pid()}, v)
	if len(told.all) != 1 {
		t.Errorf("of a program that runs no more: %q", told.all[1:])
	}
}
