// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// When a followed program cannot be looked at because no more files can be open,
// that is said, and not that the program has ended.
func TestOutOfFilesIsTold(t *testing.T) {
	testenv.BPF(t)
	p := fixture.Start(t, fixture.Build(t, "spawn.c"), "fork", fixture.Build(t, "exec.c"))
	p.Expect("ready")
	tracer := startPhasetrace(t, nil, "-f", "-p", strconv.Itoa(p.Pid()), "--gpu", "off", "-o", filepath.Join(t.TempDir(), "out.jsonl"))
	pid := tracer.worker()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	full := unix.Rlimit{Cur: lowestFree(files), Max: 1 << 10}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &full, &before); err != nil {
		t.Fatal(err)
	}
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	said := tracer.rest()
	if err := tracer.Wait(); err != nil {
		t.Errorf("phasetrace: %v", err)
	}
	for _, want := range []string{"too many open files", "raise the limit of open files (ulimit -n)", "looks for markers that failed"} {
		if !strings.Contains(said, want) {
			t.Errorf("it never said %q: %s", want, said)
		}
	}
	if strings.Contains(said, "ended before they could be looked at") {
		t.Errorf("it takes the program for over: %s", said)
	}
}

// lowestFree is the lowest descriptor that is not among those in use.
func lowestFree(used []os.DirEntry) uint64 {
	taken := make(map[string]bool)
	for _, e := range used {
		taken[e.Name()] = true
	}
	for n := uint64(0); ; n++ {
		if !taken[strconv.FormatUint(n, 10)] {
			return n
		}
	}
}
