// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/fixture/hangfs"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// hostile is a situation that keeps the kernel, or an output, until the test ends.
type hostile struct {
	t    *testing.T
	lock *fixture.Proc // whose memory map is locked
	fs   *hangfs.FS
	page string   // a file whose contents do not come
	file string   // the program held.c
	args []string // of phasetrace, besides the target
}

// start runs held.c; begun is called when it could be traced, before it is told to
// go on.
func (h *hostile) start(how string, begun func(p *fixture.Proc)) *fixture.Proc {
	p := fixture.Start(h.t, h.file, how, h.page)
	p.Expect("ready")
	begun(p)
	h.fs.Hang(hangfs.Read)
	p.WriteLine("go")
	return p
}

func (h *hostile) trace(p *fixture.Proc, args ...string) *tracer {
	return startPhasetrace(h.t, nil, append(append([]string{"-p", strconv.Itoa(p.Pid()), "--gpu", "off"}, h.args...), args...)...)
}

// name hits a marker whose name lies on a page that does not come.
func (h *hostile) name(how string) (tr *tracer) {
	p := h.start(how, func(p *fixture.Proc) { tr = h.trace(p) })
	p.Expect("hit")
	return tr
}

// locked keeps the memory map of the target locked.
func (h *hostile) locked() (tr *tracer) {
	h.lock = h.start("lock", func(p *fixture.Proc) { tr = h.trace(p) })
	h.fs.Await()
	return tr
}

// attaching keeps phasetrace in the kernel before it is attached.
func (h *hostile) attaching() *tracer {
	h.lock = h.start("lock", func(*fixture.Proc) {})
	h.fs.Await()
	cmd := exec.Command("/proc/self/exe", "-p", strconv.Itoa(h.lock.Pid()), "--gpu", "off")
	cmd.Args[0] = "phasetrace"
	tr := &tracer{Cmd: cmd, t: h.t, messages: make(chan string, 100)}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	tr.awaitLock()
	close(tr.messages)
	return tr
}

// searching looks for libraries where nobody answers.
func (h *hostile) searching() *tracer {
	script := "echo ready; read go; LD_LIBRARY_PATH=" + filepath.Dir(h.page) + " exec " + h.file + " fault"
	p := fixture.StartCmd(h.t, exec.Command("/bin/sh", "-c", script))
	p.Expect("ready")
	tr := h.trace(p, "-f")
	h.fs.Hang(hangfs.Lookup)
	p.WriteLine("go")
	h.fs.Await()
	tr.await("does that file system answer?")
	return tr
}

// unread fills a pipe that nobody reads.
func (h *hostile) unread() *tracer {
	p := fixture.Start(h.t, fixture.Build(h.t, "spin.c"), "1", "20000", "inline")
	p.Expect("ready")
	r, w, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { r.Close() })
	tr := startPhasetrace(h.t, w, "-p", strconv.Itoa(p.Pid()), "--gpu", "off")
	w.Close()
	p.WriteLine("go")
	for p.ReadLine() != "again" {
	}
	return tr
}

// awaitLock waits until the worker waits for the lock of a memory map: to change
// probes or, when somebody else does, to look at the process.
func (tr *tracer) awaitLock() {
	tr.t.Helper()
	worker := tr.worker()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		stacks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stack", worker))
		if err != nil || len(stacks) == 0 {
			break
		}
		for _, name := range stacks {
			stack, _ := os.ReadFile(name) // the thread may have ended
			if bytes.Contains(stack, []byte("register_for_each_vma+")) || bytes.Contains(stack, []byte("__access_remote_vm+")) {
				return
			}
		}
	}
	tr.t.Fatal("phasetrace does not wait for the lock")
}

// mustEnd waits until a process is gone.
func mustEnd(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); unix.Kill(pid, 0) != unix.ESRCH; {
		if time.Now().After(end) {
			t.Fatalf("process %d lives although nothing keeps it", pid)
		}
	}
}

// One signal ends a session in two seconds whatever keeps the kernel or an output,
// while it goes on keeping it; so does its duration. What the kernel keeps is left
// behind, holds nobody's pipe, goes once it can, and leaves no marker enabled.
func TestEndsInTime(t *testing.T) {
	testenv.BPF(t)
	features, err := loader.DetectFeatures(testenv.Without(t))
	if err != nil {
		t.Fatal(err)
	}
	// It only ends a test that would hang; the machine cannot fork meanwhile.
	patience := 10 * time.Second
	if !features.UprobeMulti { // probes are removed one by one, which takes as long as it takes
		patience = time.Minute
	}
	file := fixture.Build(t, "held.c")
	for _, test := range []struct {
		name    string
		args    []string
		begin   func(*hostile) *tracer
		left    bool // a process may be left behind
		status  int
		signals []os.Signal // nil: SIGINT; with several, the second once the first has been acted on
	}{
		{name: "its own page", begin: func(h *hostile) *tracer { return h.name("fault") }},
		{name: "its own page, followed", args: []string{"-f"}, begin: func(h *hostile) *tracer { return h.name("fault") }},
		{name: "its own page, counted", args: []string{"--aggregate"}, begin: func(h *hostile) *tracer { return h.name("fault") }},
		{name: "a file system's page", begin: func(h *hostile) *tracer { return h.name("file") }},
		{name: "a file system's page, followed", args: []string{"-f"}, begin: func(h *hostile) *tracer { return h.name("file") }},
		{name: "a file system's page, counted", args: []string{"--aggregate"}, begin: func(h *hostile) *tracer { return h.name("file") }},
		{name: "a file system's page, SIGTERM", begin: func(h *hostile) *tracer { return h.name("file") }, signals: []os.Signal{unix.SIGTERM}},
		{name: "a file system's page, duration", args: []string{"-d", "100ms"}, begin: func(h *hostile) *tracer { return h.name("file") }, signals: []os.Signal{}},
		{name: "a search for libraries", begin: (*hostile).searching, left: true},
		{name: "a locked memory map", begin: (*hostile).locked, left: true},
		{name: "a locked memory map, second signal", begin: (*hostile).locked, left: true, status: -1, signals: []os.Signal{os.Interrupt, os.Interrupt}},
		{name: "a locked memory map, killed", begin: (*hostile).locked, left: true, status: -1, signals: []os.Signal{os.Kill}},
		{name: "a locked memory map while attaching", begin: (*hostile).attaching, left: true, status: statusFailed},
		{name: "standard output that nobody reads", begin: (*hostile).unread, status: statusFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs := hangfs.Mount(t, map[string][]byte{"l/page": append([]byte("late"), make([]byte, 1<<16)...)})
			defer fs.Answer()
			h := &hostile{t: t, fs: fs, page: filepath.Join(fs.Dir, "l", "page"), file: file, args: test.args}
			tr := test.begin(h)
			worker := tr.worker()
			if test.signals == nil {
				test.signals = []os.Signal{os.Interrupt}
			}
			began := time.Now()
			for i, sig := range test.signals {
				if i > 0 {
					tr.awaitLock()
					began = time.Now()
				}
				if err := tr.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
			hung := time.AfterFunc(patience, func() {
				t.Errorf("it has not ended after %v", patience)
				fs.Answer()
			})
			said := tr.rest()
			_ = tr.Wait()
			took := time.Since(began)
			hung.Stop()
			t.Logf("ended %v after the signal, %s", took.Round(time.Millisecond), tr.ProcessState)
			if tr.ProcessState.ExitCode() != test.status {
				t.Errorf("%s, want status %d: %s", tr.ProcessState, test.status, said)
			}
			if !test.left {
				mustEnd(t, worker)
			}
			fs.Answer()
			mustEnd(t, worker)
			if h.lock != nil {
				h.lock.WriteLine("on")
				h.lock.Expect("hit")
				h.lock.Expect("through untraced")
			}
		})
	}
}
