// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Once attached, no thread of phasetrace has more than the capabilities that
// are needed to attach again; and those are enough for a library that comes
// later.
func TestPrivilegesGivenUp(t *testing.T) {
	testenv.BPF(t)
	testenv.Require(t, os.Geteuid() == 0, "only root has something to give up")
	features, err := loader.DetectFeatures(testenv.Without(t))
	if err != nil {
		t.Fatal(err)
	}
	want := uint64(1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_CHECKPOINT_RESTORE |
		1<<unix.CAP_LEASE)
	if !features.UprobeMulti {
		want |= 1 << unix.CAP_SYS_ADMIN
	}
	library := fixture.Build(t, "libphase.c", "-shared", "-fPIC")
	p := fixture.Start(t, fixture.Build(t, "dlopen.c", "-ldl"), library)
	p.Expect("ready")
	out := filepath.Join(t.TempDir(), "out.jsonl")
	tracer := startPhasetrace(t, nil, "-p", strconv.Itoa(p.Pid()), "--gpu", "off", "-o", out)
	mustHave(t, tracer.worker(), want)
	mustHave(t, tracer.Process.Pid, 0) // it only waits

	p.WriteLine("load")
	p.Expect("loaded")
	tracer.await("after a library was mapped")
	p.WriteLine("library 100")
	p.ReadLine()
	p.CloseStdin()
	p.WaitOK()
	tracer.end()
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte(`"event_type":"phase_exit"`)); n != 100 {
		t.Errorf("%d phases of the library that came later, want 100", n)
	}
}

// mustHave wants every thread of a process to have exactly these capabilities.
func mustHave(t *testing.T, pid int, want uint64) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		for _, set := range []string{"CapPrm", "CapEff"} {
			if got := statusSet(t, pid, task.Name(), set); got != want {
				t.Errorf("process %d, thread %s: %s is %#x, want %#x", pid, task.Name(), set, got, want)
			}
		}
		if got := statusSet(t, pid, task.Name(), "CapInh"); got != 0 {
			t.Errorf("process %d, thread %s: CapInh is %#x, want none", pid, task.Name(), got)
		}
	}
	if len(tasks) < 2 {
		t.Errorf("process %d has %d threads: the test shows nothing of the others", pid, len(tasks))
	}
}

// statusSet is a capability set of a thread.
func statusSet(t *testing.T, pid int, task, name string) uint64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", pid, task))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return set
		}
	}
	t.Fatalf("no %s of thread %s", name, task)
	return 0
}
