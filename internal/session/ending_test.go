// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/fixture/hangfs"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// hangingPage mounts a file system that can stop answering reads of the file at
// the path.
func hangingPage(t *testing.T) (fs *hangfs.FS, path string) {
	t.Helper()
	fs = hangfs.Mount(t, map[string][]byte{"page": append([]byte("late"), make([]byte, 1<<16)...)})
	return fs, filepath.Join(fs.Dir, "page")
}

// A name on a page that does not come is unreadable, and counted. Neither the
// program nor the end of the session waits for it.
func TestNameThatDoesNotCome(t *testing.T) {
	testenv.BPF(t)
	file := fixture.Build(t, "held.c")
	for _, how := range []string{"fault", "file"} {
		for name, c := range map[string]Config{"": {}, ", followed": {Follow: true}, ", counted": {Count: true}} {
			t.Run(how+name, func(t *testing.T) {
				hang, args := func() {}, []string{how}
				if how == "file" {
					fs, path := hangingPage(t)
					defer fs.Answer()
					hang, args = func() { fs.Hang(hangfs.Read) }, append(args, path)
				}
				p := fixture.Start(t, file, args...)
				p.Expect("ready")
				tr := attach(t, []int{p.Pid()}, c)
				hang()
				p.WriteLine("go")
				p.Expect("hit")
				p.Expect("through traced")
				sum := tr.stop()
				if len(sum.Paths) != 1 || sum.Paths[0].Path.String() != nameUnread || sum.Paths[0].Count != 1 {
					t.Errorf("phases %+v, want one, %s", sum.Paths, nameUnread)
				}
				if n := noteCount(sum, "phase names that were null, empty or unreadable"); n != 1 {
					t.Errorf("%d names counted as unreadable, want 1", n)
				}
			})
		}
	}
}

func noteCount(sum *stream.Summary, what string) uint64 {
	for _, n := range sum.Notes {
		if n.What == what {
			return n.Count
		}
	}
	return 0
}

// lockedMap starts a program that keeps its memory map locked until the file system
// answers. before is called when the program is ready, and not locked yet.
func lockedMap(t *testing.T, file string, before func(p *fixture.Proc)) (p *fixture.Proc, fs *hangfs.FS) {
	t.Helper()
	fs, path := hangingPage(t)
	p = fixture.Start(t, file, "lock", path)
	p.Expect("ready")
	before(p)
	fs.Hang(hangfs.Read)
	p.WriteLine("go")
	fs.Await()
	return p, fs
}

// awaitLock waits until a thread of this process waits for the lock of a memory
// map: to change probes or, when another tracer does, to look at the process.
func awaitLock(t testing.TB) {
	t.Helper()
	eventually(t, "the wait for the lock", func() bool {
		stacks, err := filepath.Glob("/proc/self/task/*/stack")
		if err != nil || len(stacks) == 0 {
			t.Fatalf("no thread's stack can be read: %v", err)
		}
		return slices.ContainsFunc(stacks, func(name string) bool {
			stack, _ := os.ReadFile(name) // a thread may have ended
			return strings.Contains(string(stack), "register_for_each_vma+") || strings.Contains(string(stack), "__access_remote_vm+")
		})
	})
}

// mustBeFreed waits until the probes are gone, and the tracer with them.
func mustBeFreed(t *testing.T) {
	t.Helper()
	eventually(t, "the end of the last link", func() bool {
		_, links := openFiles(t)
		return links == 0
	})
}

// A program that keeps its memory map locked for as long as it likes does not keep
// a session from ending. The session says what is left, and that is removed later.
func TestEndWhileMapIsLocked(t *testing.T) {
	testenv.BPF(t)
	for name, without := range map[string]loader.Without{"rings": {}, "one ring buffer": {CPURings: true}} {
		t.Run(name, func(t *testing.T) {
			var tr *tracing
			told := newMessages()
			p, fs := lockedMap(t, fixture.Build(t, "held.c"), func(p *fixture.Proc) {
				tr = attach(t, []int{p.Pid()}, Config{Message: told.add, Without: without})
			})
			defer fs.Answer()
			sum := tr.stop()
			if sum.EndReason != "interrupt" || !slices.ContainsFunc(sum.Notes, func(n stream.Note) bool { return strings.HasPrefix(n.What, heldProbes) }) {
				t.Errorf("the session ended by %s with notes %v, want that probes are left", sum.EndReason, sum.Notes)
			}
			told.await(t, heldProbes, 1)
			fs.Answer()
			tr.session.Settle()
			mustBeFreed(t)
			p.WriteLine("on")
			p.Expect("hit")
			p.Expect("through untraced")
		})
	}
}

const heldProbes = "probes could not be removed in time"

// The same while probes are being attached, before the session runs.
func TestAddWhileMapIsLocked(t *testing.T) {
	testenv.BPF(t)
	p, fs := lockedMap(t, fixture.Build(t, "held.c"), func(*fixture.Proc) {})
	defer fs.Answer()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := runAll(ctx, []int{p.Pid()}, Config{Sink: &collector{}, SessionID: "test", Message: func(m string) { t.Log(m) }, Without: testenv.Without(t)})
		ended <- err
	}()
	awaitLock(t)
	cancel()
	err := <-ended
	t.Log(err)
	if !errors.Is(err, errHeld) && !errors.Is(err, context.Canceled) {
		t.Errorf("the session ended with %v, want that it was interrupted", err)
	}
	fs.Answer()
	mustBeFreed(t)
}

// The same while they are being attached to a program that a followed one runs.
func TestEndWhileAttaching(t *testing.T) {
	testenv.BPF(t)
	file := fixture.Build(t, "held.c")
	p := fixture.StartCmd(t, exec.Command("/bin/sh", "-c", "echo ready; read go; exec "+file+" fault"))
	p.Expect("ready")
	told := newMessages()
	var tr *tracing
	_, fs := lockedMap(t, file, func(*fixture.Proc) {
		tr = attach(t, []int{p.Pid()}, Config{Follow: true, Message: told.add})
	})
	defer fs.Answer()
	p.WriteLine("go")
	awaitLock(t)
	if sum := tr.stop(); sum.EndReason != "interrupt" {
		t.Errorf("the session ended by %s", sum.EndReason)
	}
	fs.Answer()
	mustBeFreed(t)
}
