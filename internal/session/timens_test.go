// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// In a time namespace the clocks and the start times of processes are others than
// the kernel's programs see: no boundary is taken for one from before the attach,
// and no child for one whose id is another's by now.
func TestTraceInTimeNamespace(t *testing.T) {
	if os.Getenv(insideRole) == "time" {
		for _, follow := range []bool{false, true} {
			t.Run(fmt.Sprintf("follow=%v", follow), func(t *testing.T) { tracePhasesOfNow(t, follow) })
		}
		t.Run("child", traceLongChild)
		return
	}
	testenv.BPF(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and unshare, to make a time namespace")
	}
	if help, _ := exec.Command(unshare, "--help").CombinedOutput(); !strings.Contains(string(help), "--boottime") {
		t.Skip("this unshare makes no time namespaces")
	}
	cmd := exec.Command(unshare, "--time", "--fork", "--monotonic", "864000", "--boottime", "1728000",
		os.Args[0], "-test.run=^TestTraceInTimeNamespace$", "-test.v")
	cmd.Env = append(os.Environ(), insideRole+"=time")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") < 4 {
		t.Fatalf("inside: %v\n%s", err, out)
	}
	t.Logf("inside:\n%s", out)
}

func tracePhasesOfNow(t *testing.T, follow bool) {
	if shift := clock.Shift(); shift.Monotonic != int64(864000*time.Second) || shift.Boot != int64(1728000*time.Second) {
		t.Fatalf("the namespace shifts the clocks by %+v", shift)
	}
	p := fixture.Start(t, fixture.Build(t, "phases.c"), "3", "2", "10", "0")
	p.Expect("ready")
	began := clock.Monotonic()
	tr := attach(t, []int{p.Pid()}, Config{Follow: follow})
	p.WriteLine("go")
	logged := readSpans(t, p.ReadAll())
	p.WaitOK()
	sum := tr.wait()
	if len(tr.boundaries) != 2*len(logged) || len(logged) == 0 || sum.Orphans != 0 || sum.ViolationTotal != 0 {
		t.Errorf("%d boundaries, %d orphans and %d violations of %d phases", len(tr.boundaries), sum.Orphans, sum.ViolationTotal, len(logged))
	}
	for i := range tr.boundaries {
		if at := tr.boundaries[i].Time; at < began || at > clock.Monotonic() {
			t.Fatalf("boundary %d is of %d, the session began at %d", i, at, began)
		}
	}
}

// A child that does not run exec is known by what the kernel told of its start.
func traceLongChild(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "end")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p := fixture.StartCmd(t, exec.Command("sh", "-c",
		`echo ready; read x; (read z < "$0"; :) & echo $!; read y; echo > "$0"; wait`, fifo))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Follow: true})
	p.WriteLine("go")
	child, err := strconv.Atoi(p.ReadLine())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child", func() bool { _, ok := tr.session.core.process(child); return ok })
	w := tr.session.watcher
	w.mu.Lock()
	w.sweep()
	w.mu.Unlock()
	c := tr.session.core
	c.mu.Lock()
	ending := len(c.ending)
	c.mu.Unlock()
	if _, ok := c.process(child); !ok || ending > 0 {
		t.Errorf("the child is taken for over; %d processes end", ending)
	}
	p.WriteLine("go")
	p.WaitOK()
	tr.wait()
}
