// SPDX-License-Identifier: Apache-2.0

package loader_test

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// aggregateSites plans our own markers of a file.
func aggregateSites(t *testing.T, path string) (sites []probe.Site, how []loader.AggregateSite) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	elf, err := usdt.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	for i, in := range elf.Sites {
		s := probe.Site{
			ID: uint32(i), Arch: elf.Arch, Location: in.Location, Offset: in.Offset, RefCtr: in.RefCtr,
			Effect: probe.Exit, Captures: []probe.Capture{{Operand: in.Args[0], Type: probe.CaptureInt}},
		}
		h := loader.AggregateSite{Site: s.ID, Role: probe.Exit, Token: true, Gate: 1}
		if in.Name == "enter" {
			s.Effect, h.Role = probe.Enter, probe.Enter
			s.Captures = append(s.Captures, probe.Capture{Operand: in.Args[1], Type: probe.CaptureInt})
			h.Name, h.NameSlot = loader.NameString, 1
		}
		sites, how = append(sites, s), append(how, h)
	}
	return sites, how
}

// The programs pass the verifier and count exactly in every mode.
func TestAggregateCounts(t *testing.T) {
	testenv.BPF(t)
	const threads, depth = 4, 3
	phases := 20000
	if testing.Short() {
		phases = 1000
	}
	path := fixture.Build(t, "spin.c")
	for _, without := range modes {
		for _, all := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v,all=%v", without, all), func(t *testing.T) {
				p := fixture.Start(t, path, fmt.Sprint(threads), fmt.Sprint(phases), "inline", fmt.Sprint(depth))
				p.Expect("ready")
				tr, err := loader.Open(loader.Options{Aggregate: true, AllProcesses: all, FollowForks: all, Without: without})
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				sites, how := aggregateSites(t, path)
				if err := tr.AddTarget(p.Pid()); err != nil {
					t.Fatal(err)
				}
				pid := p.Pid()
				if all {
					pid = 0
				}
				if _, failed, err := tr.Attach(pid, path, sites); err != nil || len(failed) > 0 {
					t.Fatalf("%v, failed: %v", err, failed)
				}
				if err := tr.Counts().PutSites(how); err != nil {
					t.Fatal(err)
				}
				if err := tr.Counts().Until(math.MaxInt64); err != nil {
					t.Fatal(err)
				}
				p.WriteLine("go")
				p.CloseStdin()
				p.ReadAll()
				p.WaitOK()
				if err := tr.Detach(nil); err != nil {
					t.Fatal(err)
				}
				got, err := tr.Counts().Read()
				if err != nil {
					t.Fatal(err)
				}
				checkSpin(t, got, p.Pid(), threads, uint64(phases), depth)
			})
		}
	}
}

func checkSpin(t *testing.T, got *loader.Aggregate, pid int, threads, phases, depth uint64) {
	t.Helper()
	if got.Totals != (loader.AggregateTotals{}) || len(got.Defects) != 0 {
		t.Errorf("something went wrong: %+v, %+v", got.Totals, got.Defects)
	}
	if len(got.Paths) != int(depth)+2 {
		t.Fatalf("%d paths, want the process, %d of base and one of spin: %+v", len(got.Paths), depth, got.Paths)
	}
	if p := got.Paths[0].Process; p == nil || p.PID != pid || p.HostPID == 0 || p.StartTime == 0 {
		t.Errorf("the process is %+v, want that of pid %d", p, pid)
	}
	for i, p := range got.Paths[1:] {
		name, count := "base", threads
		if i == int(depth) {
			name, count = "spin", threads*phases
		}
		if p.Name != name || p.Parent != got.Paths[i].ID || p.Literal != loader.LiteralNone {
			t.Errorf("path %d is %q below %d, want %s below %d", p.ID, p.Name, p.Parent, name, got.Paths[i].ID)
		}
		if p.Entered != count || p.Ended != count || p.Unbucketed != 0 {
			t.Errorf("%s: %d entered, %d ended, %d in no bucket; want %d, and 0", name, p.Entered, p.Ended, p.Unbucketed, count)
		}
		if p.Min == 0 || p.Min > p.Max || p.Total < p.Ended*p.Min || p.Total > p.Ended*p.Max || p.Inner > p.Total {
			t.Errorf("%s: min %d, max %d, total %d, inner %d do not go together", name, p.Min, p.Max, p.Total, p.Inner)
		}
		if leaf := i == int(depth); leaf != (p.Inner == 0) {
			t.Errorf("%s at %d: %d ns inside others", name, i, p.Inner)
		}
	}
}
