// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Who names a launcher without -f is told that what it has started has markers: where
// there is nothing else to trace, when that is attached, and at the end.
func TestChildrenWithMarkers(t *testing.T) {
	testenv.BPF(t)
	spin := fixture.Build(t, "spin.c")
	launcher := fixture.StartCmd(t, exec.Command("sh", "-c", spin+" 1 1; :"))
	launcher.Expect("ready")
	pid := strconv.Itoa(launcher.Pid())

	looked("-p", pid, "--no-wait", "--gpu", "off").want(t, statusFailed, "no USDT markers to trace", ": 1 child has markers: add -f")

	// A session that waits: a shell has a dynamic linker, which can load more.
	tracer := startPhasetrace(t, nil, "-p", pid, "--gpu", "off", "-o", filepath.Join(t.TempDir(), "out.txt"))
	tracer.await("watching ")
	tracer.await("phasetrace: 1 child of process " + pid + " has markers and is not traced; -f traces them")
	launcher.WriteLine("go")
	launcher.CloseStdin()
	launcher.ReadLine()
	launcher.WaitOK()
	if rest := tracer.rest(); strings.Contains(rest, "has markers") {
		t.Errorf("told again: %s", rest)
	}

	// It is the note at the end, too.
	launcher = fixture.StartCmd(t, exec.Command("sh", "-c", spin+" 1 1; :"))
	launcher.Expect("ready")
	r := looked("-p", strconv.Itoa(launcher.Pid()), "--gpu", "off", "-d", "1ms")
	r.want(t, statusFine, "1 child of process "+strconv.Itoa(launcher.Pid())+" had markers and was not traced; -f traces them\n")
	// With -f nothing is missing.
	r = looked("-p", strconv.Itoa(launcher.Pid()), "--gpu", "off", "-d", "1ms", "-f")
	if strings.Contains(r.out+r.err, "not traced") {
		t.Errorf("with -f: %s%s", r.out, r.err)
	}
	launcher.WriteLine("go")
	launcher.CloseStdin()
	launcher.ReadLine()
	launcher.WaitOK()
}
