// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// withoutMarkers is dlopen.c without any of its own.
var withoutMarkers = []string{"-ldl", "-DPHASETRACE_DISABLE"}

// A program whose markers come with a library that it loads later is waited for,
// which is told in one line; so is the library, and what to do about its first
// markers.
func TestWaitsForLibrary(t *testing.T) {
	testenv.BPF(t)
	library := fixture.Build(t, "libphase.c", "-shared", "-fPIC")
	for _, test := range []struct {
		name string
		args []string
		says string
	}{
		{"no marker yet", nil, "no USDT markers yet"},
		{"a pair that fits nothing yet", []string{"--pair", "phasetrace:enter/exit;name=work"},
			"pair phasetrace:enter/exit;name=work: no probe phasetrace:enter in these files"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "dlopen.c", withoutMarkers...), library)
			p.Expect("ready")
			out := filepath.Join(t.TempDir(), "out.txt")
			tracer := startPhasetrace(t, nil, append(test.args, "-p", strconv.Itoa(p.Pid()), "--gpu", "off", "-o", out)...)
			said := <-tracer.messages
			if want := "phasetrace: watching dlopen (pid " + strconv.Itoa(p.Pid()) + "): " + test.says +
				"; waiting for libraries that are loaded later; name such libraries with --library FILE"; said != want {
				t.Errorf("it said\n%s\nwant\n%s", said, want)
			}
			p.WriteLine("load")
			p.Expect("loaded")
			said = <-tracer.messages
			if !strings.Contains(said, "after a library was mapped: markers of "+library+" before that are missing; name such libraries with --library FILE") {
				t.Errorf("the library and the remedy are not told: %s", said)
			}
			p.WriteLine("library 3")
			p.ReadLine()
			p.CloseStdin()
			p.WaitOK()
			tracer.end()
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "<- "); n != 3 {
				t.Errorf("%d phases, want 3:\n%s", n, text)
			}
			if want := "their markers before are missing; name such libraries with --library FILE: " + library + " (1×)"; !strings.Contains(string(text), want) {
				t.Errorf("the summary does not say %q:\n%s", want, text)
			}
		})
	}
}

// --no-wait ends at once, and so does a static program.
func TestNoWait(t *testing.T) {
	testenv.BPF(t)
	p := fixture.Start(t, fixture.Build(t, "dlopen.c", withoutMarkers...), "none")
	p.Expect("ready")
	pid := strconv.Itoa(p.Pid())
	for _, args := range [][]string{{"-p", pid, "--gpu", "off"}, {"-p", pid, "--gpu", "off", "--pair", "no:one/two"}} {
		r := looked(append(args, "--no-wait")...)
		if r.status != statusFailed || !strings.Contains(r.err, "no USDT markers to trace") || strings.Contains(r.err, "watching") {
			t.Errorf("%q: status %d: %s", args, r.status, r.err)
		}
	}
	p.CloseStdin()
	p.WaitOK()
	path := fixture.Build(t, "spin.c", "-DPHASETRACE_DISABLE", "-static")
	static := fixture.Start(t, path, "1", "1")
	static.Expect("ready")
	if r := looked("-p", strconv.Itoa(static.Pid()), "--gpu", "off", "-d", "1m"); r.status != statusFailed || !strings.Contains(r.err, "no USDT markers to trace: looked at "+path) {
		t.Errorf("a static program: status %d: %s", r.status, r.err)
	}
}
