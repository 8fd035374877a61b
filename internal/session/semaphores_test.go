// SPDX-License-Identifier: Apache-2.0

package session

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Whatever linked a program: under `run` and after an exec all its phases are
// seen, those of its constructors and of its children too, and when the session
// ends nothing is left behind.
func TestLinkersRun(t *testing.T) {
	for _, linker := range fixture.Linkers {
		for _, follow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s follow=%v", linker, follow), func(t *testing.T) {
				want := map[string]int{"constructor": 3, "program": 15}
				if follow {
					want["child"] = 6
				}
				unhurried(t, func(t *testing.T) (*stream.Summary, map[string]int) {
					path := linked(t, linker, "linked.c", "-ldl")
					kernel := watchKernel(t, path)
					spawned, p := spawnLinked(t, path)
					tr := attachTargets(t, []Target{{Spawned: spawned}}, Config{Follow: follow})
					p.expect("ready")
					for i := range 3 {
						if i > 0 {
							p.order("exec", "ready")
						}
						p.order("phases 5", "done")
						p.order("fork 2", "done")
					}
					if canWait(t) {
						p.order("state", "enabled 1 0 0")
					}
					sum := tr.stop()
					kernel.check(p)
					return sum, properly(tr.boundaries)
				}, want)
			})
		}
	}
}

// Where programs cannot be made to wait, what is missed is told.
func TestLinkersLate(t *testing.T) {
	for _, linker := range fixture.Linkers {
		t.Run(linker, func(t *testing.T) {
			path := linked(t, linker, "linked.c", "-ldl")
			kernel := watchKernel(t, path)
			spawned, p := spawnLinked(t, path)
			tr := attachTargets(t, []Target{{Spawned: spawned}}, Config{Follow: true, Without: loader.Without{Sleepable: true}})
			p.expect("ready")
			const programs = 10
			for range programs - 1 {
				p.order("phases 5", "done")
				p.order("exec", "ready")
			}
			awaitState(p, "enabled 1 0 0")
			sum := tr.stop()
			kernel.check(p)
			seen := 0
			for _, b := range tr.boundaries {
				if b.Action == recorder.Exit {
					seen++
				}
			}
			told := 0
			for _, n := range sum.Notes {
				if strings.HasPrefix(n.What, "programs run by exec") || strings.HasPrefix(n.What, "files whose markers") ||
					strings.HasPrefix(n.What, "libraries loaded") {
					told += int(n.Count)
				}
			}
			// How many are told of depends on when each executed the next.
			if missing := programs + 5*(programs-1) - seen; missing > 0 && told == 0 {
				t.Errorf("%d phases of %d programs are missing in silence: %v", missing, programs, sum.Notes)
			}
		})
	}
}

// A running program is attached at once.
func TestLinkersAttach(t *testing.T) {
	for _, linker := range fixture.Linkers {
		t.Run(linker, func(t *testing.T) {
			path := linked(t, linker, "linked.c", "-ldl")
			kernel := watchKernel(t, path)
			p := startLinked(t, path)
			for range 2 {
				tr := attach(t, []int{p.pid}, Config{})
				p.order("phases 5", "done")
				sum := tr.stop()
				want := map[string]int{"program": 5}
				if diff := cmp.Diff(want, readable(properly(tr.boundaries), want)); diff != "" {
					t.Errorf("phases (-want +got):\n%s notes %v", diff, sum.Notes)
				}
				kernel.check(p)
			}
		})
	}
}

// A library named in advance is missed by nobody, its constructor included,
// however often it is loaded.
func TestLinkersLibrary(t *testing.T) {
	for _, linker := range fixture.Linkers {
		for _, follow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s follow=%v", linker, follow), func(t *testing.T) {
				unhurried(t, func(t *testing.T) (*stream.Summary, map[string]int) {
					path, library := linked(t, "bfd", "linked.c", "-ldl"), linked(t, linker, "liblinked.c", asLibrary...)
					kernel := watchKernel(t, path, library)
					p := startLinked(t, path, library)
					tr := attach(t, []int{p.pid}, Config{Libraries: []string{library}, Follow: follow})
					for i := range 3 {
						if i > 0 {
							p.order("unload", "done")
						}
						p.order("load", "done")
						p.order("library 5", "done")
					}
					if canWait(t) {
						p.order("state", "enabled 1 1 0")
					}
					sum := tr.stop()
					kernel.check(p)
					return sum, properly(tr.boundaries)
				}, map[string]int{"loaded": 3, "library": 15})
			})
		}
	}
}

// A library that is loaded twice: the kernel knows one copy only. That is told,
// and nothing is left behind, whichever copy goes first.
func TestLibraryTwice(t *testing.T) {
	for _, linker := range fixture.Linkers {
		for _, before := range []bool{false, true} {
			for _, gone := range []string{"", "unload", "drop"} {
				t.Run(fmt.Sprintf("%s before=%v %s", linker, before, gone), func(t *testing.T) {
					libraryTwice(t, linker, before, gone)
				})
			}
		}
	}
}

const onlyOneCopy = "loaded more than once (dlmopen)"

func libraryTwice(t *testing.T, linker string, before bool, gone string) {
	path, library := linked(t, "bfd", "linked.c", "-ldl"), linked(t, linker, "liblinked.c", asLibrary...)
	kernel := watchKernel(t, path, library)
	p := startLinked(t, path, library)
	load := func() {
		p.order("load", "done")
		p.order("copy", "done")
	}
	if before {
		load()
	}
	told := newMessages()
	tr := attach(t, []int{p.pid}, Config{Libraries: []string{library}, Message: told.add})
	if !before {
		load()
	}
	t.Log(told.await(t, onlyOneCopy, 1))
	if gone != "" {
		p.order(gone, "done")
	}
	sum := tr.stop()
	note := ""
	for _, n := range sum.Notes {
		note += n.What
	}
	if !strings.Contains(note, "did not enable in a process") {
		t.Errorf("notes %v do not tell of it", sum.Notes)
	}
	kernel.check(p)
	for _, call := range []string{"library 3", "copied 3"} { // what is left still runs
		if call == "library 3" && gone == "unload" || call == "copied 3" && gone == "drop" {
			continue
		}
		p.order(call, "done")
	}
}

// Processes that nobody traces, started from a traced file while the breakpoints
// are in all of them, are left as they were.
func TestLinkersStrangers(t *testing.T) {
	for _, linker := range fixture.Linkers {
		t.Run(linker, func(t *testing.T) {
			path := linked(t, linker, "linked.c", "-ldl")
			kernel := watchKernel(t, path)
			p := startLinked(t, path)
			tr := attach(t, []int{p.pid}, Config{Follow: true})
			stranger := startLinked(t, path)
			stranger.order("phases 5", "done")
			p.order("phases 5", "done")
			tr.stop()
			want := map[string]int{"program": 5}
			if diff := cmp.Diff(want, readable(properly(tr.boundaries), want)); diff != "" {
				t.Errorf("phases (-want +got):\n%s", diff)
			}
			kernel.check(p)
			kernel.check(stranger)
		})
	}
}

// A tracer that is killed leaves nothing behind, whoever linked the program and
// although the kernel has counted in the wrong place before.
func TestLinkersKilled(t *testing.T) {
	testenv.BPF(t)
	for _, linker := range fixture.Linkers {
		t.Run(linker, func(t *testing.T) {
			path := linked(t, linker, "linked.c", "-ldl")
			kernel := watchKernel(t, path)
			p := startLinked(t, path)
			tracer := startTracer(t, p.pid)
			p.order("exec", "ready")
			awaitState(p, "enabled 1 0 0")
			if err := tracer.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = tracer.Wait()
			awaitState(p, "enabled 0 0 0")
			for end := time.Now().Add(10 * time.Second); len(kernel.changed(p.pid, path)) > 0 && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // the kernel cleans up in its own time
			}
			kernel.check(p)
		})
	}
}

// Nothing is attached that the kernel would count in the wrong place: not before
// a program's first instruction, when its RELRO is still to be sealed, nor to a
// library that is yet to be mapped.
func TestTooEarlyToAttach(t *testing.T) {
	for _, linker := range fixture.Linkers {
		t.Run(linker, func(t *testing.T) {
			twice := linker == "lld" || linker == "mold"
			path, library := linked(t, linker, "linked.c", "-ldl"), linked(t, linker, "liblinked.c", asLibrary...)
			spawned, p := spawnLinked(t, path)
			proc, err := process.Open(p.pid)
			if err != nil {
				t.Fatal(err)
			}
			defer proc.Close()
			raisable := func() bool {
				t.Helper()
				modules, err := proc.Modules()
				if err != nil {
					t.Fatal(err)
				}
				var files files
				l := files.look(t.Context(), modules)
				defer l.close()
				for _, f := range l.open {
					if f.path == path {
						return f.raisable([]probe.Site{{RefCtr: f.elf.Sites[0].RefCtr}})
					}
				}
				t.Fatalf("%s is not mapped", path)
				return false
			}
			if raisable() == twice {
				t.Errorf("before the first instruction: can be raised %v", !twice)
			}
			if err := spawned.Release(); err != nil {
				t.Fatal(err)
			}
			p.expect("ready")
			if !raisable() {
				t.Error("once it runs: cannot be raised")
			}
			var files files
			var l looked
			files.lookPath(&l, library, library)
			defer l.close()
			if f := l.open[0]; f.raisable([]probe.Site{{RefCtr: f.elf.Sites[0].RefCtr}}) == twice {
				t.Errorf("before the library is mapped: can be raised %v", !twice)
			}
		})
	}
}

// A program whose dynamic linker never seals its data cannot be enabled by the
// kernel. It is left alone, which is told.
func TestNeverSealed(t *testing.T) {
	for _, linker := range []string{"lld", "mold"} {
		t.Run(linker, func(t *testing.T) {
			path := linked(t, linker, "linked.c", "-ldl")
			dropRELRO(t, path)
			kernel := watchKernel(t, path)
			p := startLinked(t, path)
			told := newMessages()
			tr := attach(t, []int{p.pid}, Config{Message: told.add})
			p.order("phases 5", "done")
			p.order("state", "enabled 0 0 0")
			sum := tr.stop()
			told.await(t, "not write-protected after relocation", 1)
			if len(tr.boundaries) != 0 || len(sum.Notes) != 1 || !strings.Contains(sum.Notes[0].What, "did not enable") {
				t.Errorf("%d boundaries, notes %v", len(tr.boundaries), sum.Notes)
			}
			kernel.check(p)
		})
	}
}

// dropRELRO takes from a program what makes a dynamic linker seal its data.
func dropRELRO(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	headers, size, n := le.Uint64(b[32:]), uint64(le.Uint16(b[54:])), uint64(le.Uint16(b[56:]))
	found := false
	for i := range n {
		kind := b[headers+i*size:][:4]
		if le.Uint32(kind) == uint32(elf.PT_GNU_RELRO) {
			le.PutUint32(kind, uint32(elf.PT_NULL))
			found = true
		}
	}
	if !found {
		t.Fatalf("%s has no RELRO", path)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
}
