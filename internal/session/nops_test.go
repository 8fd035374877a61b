// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Sites on nops that this kernel rewrites unsafely, or where a probe never
// fires or cannot be put, are left alone, with a message; elsewhere they are traced.
func TestLongNops(t *testing.T) {
	testenv.BPF(t)
	rewriting := testenv.Without(t).Rewriting()
	for _, c := range []struct {
		name   string
		flags  []string
		refuse bool
	}{
		{"five bytes", nil, rewriting == loader.RewritingFive},
		{"ten bytes", []string{"-DNOP10"}, rewriting != loader.RewritingTen},
		{"ten bytes across a border", []string{"-DNOP10", "-DACROSS"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "longnop.c", c.flags...), "10")
			p.Expect("ready")
			if c.refuse && runtime.GOARCH == "amd64" {
				var told []string
				_, err := runAll(context.Background(), []int{p.Pid()}, Config{
					Sink: &collector{}, SessionID: "test",
					Message: func(m string) { told = append(told, m) },
				})
				if !errors.Is(err, ErrNoMarkers) || !strings.Contains(err.Error(), "2 sites left alone because this kernel cannot probe their nops safely") {
					t.Errorf("error %v, want ErrNoMarkers and the reason", err)
				}
			} else if tr := attach(t, []int{p.Pid()}, Config{}); tr != nil {
				p.WriteLine("go")
				p.Expect("done")
				if sum := tr.wait(); sum.Boundaries != 20 {
					t.Errorf("%d boundaries, want 20", sum.Boundaries)
				}
				return
			}
			p.WriteLine("go")
			p.Expect("done")
			p.WaitOK()
		})
	}
}

// Of sites on a one-byte nop with a ten-byte nop behind, the one is probed that
// suits the kernel: every hit arrives, before and after the kernel has made a call
// of it, in a process that is attached again, and its children live. Two tracers
// can use one each.
func TestNopPairs(t *testing.T) {
	first := loader.Without{Nop10: true}
	for _, c := range []struct {
		name    string
		tracers []loader.Without
	}{
		{"best nop", []loader.Without{{}}},
		{"first byte", []loader.Without{first}},
		{"perf events", []loader.Without{{UprobeMulti: true}}},
		{"first byte beside best nop", []loader.Without{first, {}}},
		{"best nop beside first byte", []loader.Without{{}, first}},
		{"all at once", []loader.Without{{}, first, {}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := fixture.Build(t, "nops.c")
			p := fixture.Start(t, path, strconv.Itoa(nopRounds))
			p.Expect("ready")
			for range 2 {
				traceNops(t, p, path, c.tracers)
			}
			p.CloseStdin()
			p.WaitOK()
		})
	}
}

// nopRounds is how often nops.c goes through its pairs on each "go".
const nopRounds = 50

// traceNops attaches all tracers to nops.c, and ends one after the other.
func traceNops(t *testing.T, p *fixture.Proc, path string, tracers []loader.Without) {
	t.Helper()
	run := func() {
		p.WriteLine("go")
		p.Expect("done 0")
	}
	var all []*tracing
	for _, w := range tracers {
		all = append(all, attach(t, []int{p.Pid()}, Config{Without: w, Pairs: nopPairs(t)}))
	}
	run()
	run()
	wantCalls(t, p.Pid(), path, tracers)
	for i, tr := range all {
		tr.stop()
		wantRounds(t, tr, 2+i)
		if t.Failed() {
			t.Fatalf("tracer %d", i)
		}
		run() // the others go on
	}
}

var nopPairNames = []string{"inside", "fits", "next", "across"}

func nopPairs(t *testing.T) []usdt.PairSpec {
	var specs []string
	for _, name := range nopPairNames {
		specs = append(specs, fmt.Sprintf("nops:%s__start/%s__done;attr.a00=arg0", name, name))
	}
	return mustPairs(t, specs...)
}

// wantRounds wants a session to have seen all phases of so many goes, in their
// order and with the right values.
func wantRounds(t *testing.T, tr *tracing, goes int) {
	t.Helper()
	seen := make(map[string]int)
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Action != recorder.Enter {
			continue
		}
		want := strconv.Itoa(seen[b.Marker.Probe]%nopRounds + 1)
		if got := valuesOf(t, b, 1)[0]; got != want {
			t.Fatalf("%s: round %s, want %s", b.Marker.Probe, got, want)
		}
		seen[b.Marker.Probe]++
	}
	for _, name := range nopPairNames {
		if n := seen[name+"__start"]; n != goes*nopRounds {
			t.Errorf("%s: %d enters, want %d", name, n, goes*nopRounds)
		}
	}
	if s := tr.summary; s.ViolationTotal != 0 || s.Orphans != 0 || len(s.ZeroSites) != 0 || s.Lost != 0 {
		t.Errorf("%d violations, %d orphans, never hit %v, %d lost", s.ViolationTotal, s.Orphans, s.ZeroSites, s.Lost)
	}
}

// wantCalls wants the code of each site to be as these tracers need it.
func wantCalls(t *testing.T, pid int, path string, tracers []loader.Without) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		return
	}
	first := slices.ContainsFunc(tracers, func(w loader.Without) bool { return w.Nop10 })
	best := slices.ContainsFunc(tracers, func(w loader.Without) bool { return !w.Nop10 })
	calls := loader.NopRewriting() == loader.RewritingTen && !testenv.Without(t).Nop10
	file, err := parseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	// What Linux makes of the ten-byte nop: lea -128(%rsp),%rsp; call.
	call := []byte{0x48, 0x8d, 0x64, 0x24, 0x80, 0xe8}
	for _, s := range file.elf.Sites {
		got := make([]byte, 11)
		if _, err := mem.ReadAt(got, int64(address(t, pid, path, s.Offset, "x"))); err != nil {
			t.Fatal(err)
		}
		callable := calls && s.Name != "across__start"
		if trapped := first || !callable; (got[0] == 0xcc) != trapped {
			t.Errorf("%s at %#x: % x; want a breakpoint at the first byte: %v", s.Name, s.Offset, got, trapped)
		}
		if called := best && callable; bytes.HasPrefix(got[1:], call) != called {
			t.Errorf("%s at %#x: % x; want a call: %v", s.Name, s.Offset, got, called)
		}
	}
}
