// SPDX-License-Identifier: Apache-2.0

package session

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// messages collects what a session tells on the way.
type messages struct {
	mu   sync.Mutex
	all  []string
	more chan struct{}
}

func newMessages() *messages { return &messages{more: make(chan struct{}, 1)} }

func (m *messages) add(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, text)
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// await returns the n-th message that contains a text, n from 1.
func (m *messages) await(t *testing.T, text string, n int) string {
	t.Helper()
	bound := time.After(time.Minute)
	for {
		seen := 0
		m.mu.Lock()
		for _, s := range m.all {
			if strings.Contains(s, text) {
				if seen++; seen == n {
					m.mu.Unlock()
					return s
				}
			}
		}
		m.mu.Unlock()
		select {
		case <-m.more:
		case <-bound:
			t.Fatalf("no message %q, number %d, among %q", text, n, m.all)
		}
	}
}

// properScopes returns how many scopes of a path were closed properly.
func properScopes(bs []stream.Boundary, path string) (n int) {
	for i := range bs {
		if b := &bs[i]; b.Action == recorder.Exit && b.Synthetic == stream.ReasonNone && b.Path.String() == path {
			n++
		}
	}
	return n
}

// scopesByFile counts the properly closed scopes by the file of their markers.
func scopesByFile(bs []stream.Boundary) map[string]int {
	out := make(map[string]int)
	for i := range bs {
		if b := &bs[i]; b.Action == recorder.Exit && b.Synthetic == stream.ReasonNone {
			out[filepath.Base(b.Marker.Path)]++
		}
	}
	return out
}

var asLibrary = []string{"-shared", "-fPIC"}

const lateLibrary = "after a library was mapped"

// A library that is loaded after the attach is attached in turn, the time that
// took is reported, and from then on every marker counts once, even when the
// library is unloaded, replaced on disk and loaded again.
func TestLibraryLoadedLater(t *testing.T) {
	for _, follow := range []bool{false, true} {
		name := "one process"
		if follow {
			name = "follow"
		}
		t.Run(name, func(t *testing.T) {
			library, other := fixture.Build(t, "libphase.c", asLibrary...), fixture.Build(t, "libphase.c", asLibrary...)
			p := fixture.Start(t, fixture.Build(t, "dlopen.c", "-ldl"), library)
			p.Expect("ready")
			told := newMessages()
			tr := attach(t, []int{p.Pid()}, Config{Follow: follow, Message: told.add})
			order := func(line, want string) {
				t.Helper()
				p.WriteLine(line)
				if got := p.ReadLine(); got != want && want != "" {
					t.Fatalf("%s: the program said %q, want %q", line, got, want)
				}
			}
			order("phases 2", "")
			order("load", "loaded")
			t.Log(told.await(t, lateLibrary, 1))
			order("library 40", "")
			order("unload", "unloaded")
			order("load", "loaded")
			order("library 2", "") // the same file: nothing to wait for
			order("unload", "unloaded")
			if err := os.Rename(other, library); err != nil {
				t.Fatal(err)
			}
			order("load", "loaded")
			told.await(t, "more sites in", 2) // unless a look at the one that is unloaded finds it before
			order("library 5", "")
			p.CloseStdin()
			p.WaitOK()
			sum := tr.wait()
			files := scopesByFile(tr.boundaries)
			if files["dlopen"] != 2 || files["libphase.so"] != 47 {
				t.Errorf("phases by file: %v, want 2 of the program and 47 of the library", files)
			}
			if sum.ViolationTotal+sum.Orphans+sum.Synthetic != 0 {
				t.Errorf("%d violations, %d orphans, %d synthetic; want none", sum.ViolationTotal, sum.Orphans, sum.Synthetic)
			}
			if n := noteOf(sum, passedNote); n > 0 {
				t.Errorf("%d libraries are said to have been missed: %q", n, told.all)
			}
		})
	}
}

// A library known by its path is attached before anybody loads it: nothing of
// it is missed.
func TestLibraryByPath(t *testing.T) {
	library := fixture.Build(t, "libphase.c", asLibrary...)
	p := fixture.Start(t, fixture.Build(t, "dlopen.c", "-ldl"), library)
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Libraries: []string{library}})
	for _, line := range []string{"load", "library 30"} {
		p.WriteLine(line)
		p.ReadLine()
	}
	p.CloseStdin()
	p.WaitOK()
	sum := tr.wait()
	if got := scopesByFile(tr.boundaries)["libphase.so"]; got != 30 || sum.Synthetic != 0 {
		t.Errorf("%d phases of the library, %d synthetic boundaries; want 30 and none", got, sum.Synthetic)
	}
}

// Libraries that LD_PRELOAD brings in are attached before the first
// instruction of a program: their constructors are traced.
func TestPreloadedLibrary(t *testing.T) {
	testenv.BPF(t)
	library, program := fixture.Build(t, "libinit.c", asLibrary...), fixture.Build(t, "dlopen.c", "-ldl")
	t.Run("run", func(t *testing.T) {
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		env := append(os.Environ(), "LD_PRELOAD="+library)
		spawned, err := process.Spawn([]string{program, library}, env, []*os.File{nil, out, os.Stderr})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = spawned.Kill() // it has ended, unless the test did first
			_, _ = spawned.Wait()
		}()
		tr := attachTargets(t, []Target{{Spawned: spawned}}, Config{})
		tr.wait()
		if n := scopesByFile(tr.boundaries)["libinit.so"]; n != 1 {
			t.Errorf("%d phases of the constructor, want 1", n)
		}
	})
	t.Run("exec", func(t *testing.T) {
		script := "echo ready; read go; LD_PRELOAD=" + library + " exec " + program + " " + library
		inTime(t, func(t *testing.T) *stream.Summary {
			p := fixture.StartCmd(t, exec.Command("/bin/sh", "-c", script))
			p.Expect("ready")
			tr := attach(t, []int{p.Pid()}, Config{Follow: true})
			p.WriteLine("go")
			p.CloseStdin()
			p.WaitOK()
			sum := tr.wait()
			if n := scopesByFile(tr.boundaries)["libinit.so"]; n != 1 && len(sum.Notes) == 0 {
				t.Errorf("%d phases of the constructor, want 1, and no word of it being late", n)
			}
			return sum
		})
	})
}

// What a file is called, or whether it still is, does not matter, nor how it
// was linked.
func TestFiles(t *testing.T) {
	remove := func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(t *testing.T, path string) {
		if err := os.Rename(fixture.Build(t, "sites.c"), path); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		flags []string
		then  func(t *testing.T, path string)
	}{
		{"deleted", nil, remove},
		{"replaced", nil, replace},
		{"static", []string{"-static"}, nil},
		{"not position-independent", []string{"-fno-pie", "-no-pie"}, nil},
		{"stripped", []string{"-s"}, nil},
	} {
		for _, follow := range []bool{false, true} {
			name := c.name
			if follow {
				name += ", followed"
			}
			t.Run(name, func(t *testing.T) {
				path := fixture.Build(t, "phases.c", c.flags...)
				p := fixture.Start(t, path, "2", "3", "20", "0")
				p.Expect("ready")
				if c.then != nil {
					c.then(t, path)
				}
				tr := attach(t, []int{p.Pid()}, Config{Follow: follow})
				p.WriteLine("go")
				logged := readSpans(t, p.ReadAll())
				p.WaitOK()
				if sum := tr.wait(); sum.Boundaries != 2*3*20*2 || sum.ViolationTotal != 0 {
					t.Errorf("%d boundaries, %d violations; want %d and none", sum.Boundaries, sum.ViolationTotal, 2*3*20*2)
				}
				compareSpans(t, logged, tr.boundaries, 0)
			})
		}
	}
}
