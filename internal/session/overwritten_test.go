// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// programs builds versions of version.c, or with library of libversion.c.
func versions(t *testing.T, library bool, which ...fixture.Version) (paths []string) {
	t.Helper()
	for _, v := range which {
		if library {
			paths = append(paths, fixture.Build(t, "libversion.c", v.Library()...))
		} else {
			paths = append(paths, fixture.Build(t, "version.c", v.Program()...))
		}
	}
	return paths
}

// breakpoint is what the kernel writes under a probe.
func breakpoint() []byte {
	if runtime.GOARCH == "arm64" {
		return []byte{0xa0, 0x00, 0x20, 0xd4} // BRK64_OPCODE_UPROBES
	}
	return []byte{0xcc}
}

// What the tests below rest on: breakpoints of one version in another spoil it.
func TestVersionsSpoilEachOther(t *testing.T) {
	paths := versions(t, false, fixture.Versions...)
	for i, from := range paths {
		file, err := parseFile(from)
		if err != nil || len(file.elf.Sites) < 2 {
			t.Fatalf("%s: %v", from, err)
		}
		for j, to := range paths {
			if fixture.Versions[i].Name == "fourth" || fixture.Versions[j].Name == "fourth" {
				continue // it is like the second one
			}
			code, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range file.elf.Sites {
				copy(code[s.Offset:], breakpoint())
			}
			spoilt := filepath.Join(t.TempDir(), "spoilt")
			syscall.ForkLock.RLock()
			err = os.WriteFile(spoilt, code, 0o755)
			syscall.ForkLock.RUnlock()
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(spoilt).CombinedOutput()
			if same := i == j; same != (err == nil) {
				t.Errorf("breakpoints of version %q in version %q: %v: %s", fixture.Versions[i].Name, fixture.Versions[j].Name, err, out)
			}
		}
	}
}

func parseFile(path string) (*file, error) {
	h, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return new(files).parse(path, h)
}

// placed copies a program or library to a path of its own, where it can be
// overwritten.
func placed(t *testing.T, from string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "versions")
	fixture.Overwrite(t, path, from)
	return path
}

// shell is a shell that runs programs when it is told to.
type shell struct {
	*fixture.Proc
	t *testing.T
}

func startShell(t *testing.T) shell {
	t.Helper()
	return shell{fixture.StartCmd(t, exec.Command("sh")), t}
}

// run runs a program and wants what it prints, and that it ends well.
func (s shell) run(program string, rounds int, want string) {
	s.t.Helper()
	s.WriteLine(fmt.Sprintf("'%s' %d; echo status $?", program, rounds))
	for _, want := range []string{want, "status 0"} {
		if got := s.ReadLine(); got != want {
			s.t.Fatalf("the traced program: %q, want %q", got, want)
		}
	}
}

// untraced runs a program that nobody traces.
func untraced(t *testing.T, program string, rounds int, want string) {
	t.Helper()
	out, err := exec.Command(program, fmt.Sprint(rounds)).CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("the untraced program: %q, %v, want %q", got, err, want)
	}
}

// prints is what a version prints.
func prints(v fixture.Version) string { return "version " + v.Name }

// phases counts what a session has seen of each phase, by its own name.
func (tr *tracing) phases(t *testing.T) map[string]uint64 {
	t.Helper()
	seen := make(map[string]uint64)
	for _, p := range tr.summary.Paths {
		seen[p.Path.Name()] += p.Count
	}
	return seen
}

// A program that is overwritten in place between two runs: nobody who runs it is
// harmed, traced or not, and each of its versions is traced from its first
// instruction.
func TestProgramOverwritten(t *testing.T) {
	const rounds = 500
	testenv.BPF(t)
	for _, counting := range []bool{false, true} {
		for _, m := range modes {
			if m.name == "no-cpu-rings" {
				continue // says nothing of files
			}
			t.Run(fmt.Sprintf("counting=%v/%s", counting, m.name), func(t *testing.T) {
				paths := versions(t, false, fixture.Versions...)
				once := func(t *testing.T, session func(*testing.T) *stream.Summary) { session(t) }
				if !m.without.Sleepable {
					once = inTime
				}
				once(t, func(t *testing.T) *stream.Summary {
					program, sh := placed(t, paths[0]), startShell(t)
					tr := attach(t, []int{sh.Pid()}, Config{Follow: true, Count: counting, Without: m.without})
					for i, v := range fixture.Versions {
						if i > 0 {
							fixture.Overwrite(t, program, paths[i])
						}
						for range 2 {
							sh.run(program, rounds, prints(v))
							untraced(t, program, rounds, prints(v))
						}
					}
					sh.CloseStdin()
					sh.WaitOK()
					sum := tr.wait()
					wantOverwritten(t, sum, len(paths)-1)
					if sum.ViolationTotal != 0 || sum.Orphans != 0 {
						t.Errorf("%d violations, %d orphans; want none", sum.ViolationTotal, sum.Orphans)
					}
					if len(sum.Notes) == 0 {
						for _, v := range fixture.Versions {
							if n := tr.phases(t)[v.Name]; n != 2*rounds {
								t.Errorf("%d phases of version %s, want %d", n, v.Name, 2*rounds)
							}
						}
					}
					return sum
				})
			})
		}
	}
}

const overwrittenNote = "times that a traced file"

// wantOverwritten wants the summary to tell how often a file was overwritten, and
// takes that, and what says how phases are counted, off its notes.
func wantOverwritten(t *testing.T, sum *stream.Summary, times int) {
	t.Helper()
	told := 0
	sum.Notes = slices.DeleteFunc(sum.Notes, func(n stream.Note) bool {
		if strings.HasPrefix(n.What, overwrittenNote) {
			told += int(n.Count)
		}
		slow := strings.HasPrefix(n.What, slowLooksNote) && os.Getenv(fixture.PrebuiltEnv) != "" // as an emulated machine is
		return strings.HasPrefix(n.What, overwrittenNote) || slow || n.Count == 0
	})
	// One that was attached late may not have had a probe yet.
	if told > times || told < times && len(sum.Notes) == 0 && os.Getenv(fixture.PrebuiltEnv) == "" {
		t.Errorf("told of %d times that a file was overwritten, want %d", told, times)
	}
}

// startReload starts reload.c.
func startReload(t *testing.T, args ...string) *fixture.Proc {
	t.Helper()
	p := fixture.Start(t, fixture.Build(t, "reload.c", "-ldl"), args...)
	p.Expect("ready")
	return p
}

// runLibrary has reload.c load the library, run phases in it and unload it.
func runLibrary(p *fixture.Proc, rounds int, want string) {
	p.WriteLine(fmt.Sprintf("run %d", rounds))
	p.Expect(want)
}

// count is how many messages contain a text.
func (m *messages) count(text string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, have := range m.all {
		if strings.Contains(have, text) {
			n++
		}
	}
	return n
}

// attachedAgain is what is said when new contents are attached.
const attachedAgain = "began to be written to"

// A library that is overwritten in place while nobody has it loaded: the new
// contents are attached as soon as they are complete, and those who load them are
// not harmed.
func TestLibraryOverwritten(t *testing.T) {
	const rounds = 300
	testenv.BPF(t)
	for _, follow := range []bool{false, true} {
		for _, counting := range []bool{false, true} {
			t.Run(fmt.Sprintf("follow=%v/counting=%v", follow, counting), func(t *testing.T) {
				paths := versions(t, true, fixture.Versions...)
				library := placed(t, paths[0])
				p, other := startReload(t, library, "program"), startReload(t, library)
				said := newMessages()
				tr := attach(t, []int{p.Pid()}, Config{Follow: follow, Count: counting, Libraries: []string{library}, Message: said.add})
				for i, v := range fixture.Versions {
					if i > 0 {
						fixture.Overwrite(t, library, paths[i])
						said.await(t, attachedAgain, i)
					}
					runLibrary(p, rounds, prints(v))
					runLibrary(other, rounds, prints(v))
				}
				p.CloseStdin()
				p.WaitOK()
				sum := tr.wait()
				wantOverwritten(t, sum, len(paths)-1)
				if n := said.count("is being written to in place"); n != 1 {
					t.Errorf("said %d times that the library is written to, want once", n)
				}
				seen := tr.phases(t)
				for _, v := range fixture.Versions {
					if seen[v.Name] != rounds {
						t.Errorf("%d phases of version %s, want %d", seen[v.Name], v.Name, rounds)
					}
				}
				if seen["program"] != uint64(len(paths)) || sum.ViolationTotal != 0 || sum.Orphans != 0 || len(sum.Notes) > 0 {
					t.Errorf("%d phases of the program, %d violations, %d orphans, notes %v", seen["program"], sum.ViolationTotal, sum.Orphans, sum.Notes)
				}
			})
		}
	}
}

// Files without markers get some in place, and lose them again.
func TestMarkersComeAndGo(t *testing.T) {
	const rounds = 100
	testenv.BPF(t)
	v := fixture.Versions[1]
	programs, libraries := versions(t, false, fixture.Plain, v), versions(t, true, fixture.Plain, v)
	t.Run("program", func(t *testing.T) {
		inTime(t, func(t *testing.T) *stream.Summary {
			program, sh := placed(t, programs[0]), startShell(t)
			tr := attach(t, []int{sh.Pid()}, Config{Follow: true})
			sh.run(program, rounds, prints(fixture.Plain))
			for range 2 {
				fixture.Overwrite(t, program, programs[1])
				sh.run(program, rounds, prints(v))
				fixture.Overwrite(t, program, programs[0])
				sh.run(program, rounds, prints(fixture.Plain))
			}
			sh.CloseStdin()
			sh.WaitOK()
			sum := tr.wait()
			if os.Getenv(fixture.PrebuiltEnv) == "" { // static programs have probes for the libraries they may load, too
				wantOverwritten(t, sum, 2)
			} else {
				wantOverwritten(t, sum, 4)
			}
			if n := tr.phases(t)[v.Name]; len(sum.Notes) == 0 && n != 2*rounds {
				t.Errorf("%d phases, want %d", n, 2*rounds)
			}
			return sum
		})
	})
	t.Run("library", func(t *testing.T) {
		library := placed(t, libraries[0])
		p := startReload(t, library, "program")
		said := newMessages()
		tr := attach(t, []int{p.Pid()}, Config{Message: said.add})
		runLibrary(p, rounds, prints(fixture.Plain))
		fixture.Overwrite(t, library, libraries[1])
		p.WriteLine("load")
		p.Expect("loaded")
		said.await(t, "more sites in", 1)
		runLibrary(p, rounds, prints(v))
		p.WriteLine("unload")
		p.Expect("unloaded")
		fixture.Overwrite(t, library, libraries[0])
		runLibrary(p, rounds, prints(fixture.Plain))
		p.CloseStdin()
		p.WaitOK()
		tr.wait()
		if n := tr.phases(t)[v.Name]; n != rounds {
			t.Errorf("%d phases, want %d", n, rounds)
		}
	})
}
