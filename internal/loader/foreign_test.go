// SPDX-License-Identifier: Apache-2.0

package loader_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/event"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// modes are the ways in which the programs are attached, read memory and send
// records.
var modes = []loader.Without{{}, {CPURings: true}, {UprobeMulti: true}, {Sleepable: true}, {UprobeMulti: true, Sleepable: true}}

// TestForeignOperands reads every operand form of this machine and compares
// with what the program itself says the values are.
func TestForeignOperands(t *testing.T) {
	testenv.BPF(t)
	for _, without := range modes {
		t.Run(fmt.Sprintf("%+v", without), func(t *testing.T) {
			path := fixture.Build(t, "foreign.c")
			p := fixture.Start(t, path)
			want := make(map[string]string)
			for line := p.ReadLine(); line != "ready"; line = p.ReadLine() {
				probe, values, _ := strings.Cut(strings.TrimPrefix(line, "expect "), " ")
				want[probe] = values
			}
			sites, probes := foreignSites(t, path)
			tr := open(t, loader.Options{Without: without})
			attach(t, tr, p.Pid(), path, sites)
			p.WriteLine("go")
			if line := p.ReadLine(); line != "two 1 1" {
				t.Errorf("semaphores: %q, want both up", line)
			}
			p.CloseStdin()
			p.WaitOK()
			got := make(map[string]string)
			drain(t, tr, func(e *event.Marker) {
				if probes[e.Site] != "two" {
					got[probes[e.Site]] = foreignValues(e, sites[e.Site], want[probes[e.Site]])
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("values (-the program's +read):\n%s", diff)
			}
		})
	}
}

// foreignSites plans every site with all the arguments that can be decoded.
func foreignSites(t *testing.T, path string) (sites []probe.Site, probes []string) {
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
	for _, in := range elf.Sites {
		s := probe.Site{
			ID: uint32(len(sites)), Arch: elf.Arch, Location: in.Location, Offset: in.Offset,
			RefCtr: in.RefCtr, Effect: probe.Enter, Lane: probe.NoLane,
		}
		for i, a := range in.Args {
			c := probe.Capture{Operand: a, Type: probe.CaptureInt}
			if in.Name == "text" && i == 0 {
				c = probe.Capture{Operand: a, Type: probe.CaptureBytes, Len: in.Args[1], Max: 200}
			}
			if a.Kind != probe.OperandUnsupported {
				s.Captures = append(s.Captures, c)
			}
		}
		sites = append(sites, s)
		probes = append(probes, in.Name)
	}
	return sites, probes
}

// foreignValues prints values as the program prints them; where it expects
// "?", there was nothing to capture.
func foreignValues(e *event.Marker, s probe.Site, want string) string {
	var out []string
	for i := range int(e.NumValues) {
		if s.Captures[i].Type == probe.CaptureBytes {
			out = append(out, string(e.Values[i].Str))
			continue
		}
		out = append(out, strconv.FormatInt(int64(e.Values[i].Int), 10))
	}
	for i, w := range strings.Fields(want) {
		if w == "?" {
			out = slices.Insert(out, min(i, len(out)), "?")
		}
	}
	return strings.Join(out, " ")
}

func open(t testing.TB, o loader.Options) *loader.Tracer {
	t.Helper()
	tr, err := loader.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func attach(t testing.TB, tr *loader.Tracer, pid int, path string, sites []probe.Site) {
	t.Helper()
	if err := tr.AddTarget(pid); err != nil {
		t.Fatal(err)
	}
	_, failed, err := tr.Attach(pid, path, sites)
	if err != nil || len(failed) > 0 {
		t.Fatalf("attach: %v, failed sites: %v", err, failed)
	}
}

// drain detaches and hands over every marker, from the first on.
func drain(t testing.TB, tr *loader.Tracer, handle func(*event.Marker)) {
	t.Helper()
	if err := tr.Detach(nil); err != nil {
		t.Fatal(err)
	}
	err := tr.Drain(func(ev event.Event) {
		if m, ok := ev.(*event.Marker); ok {
			handle(m)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := tr.Stats()
	if err != nil || s.Malformed != 0 || s.Lost != 0 {
		t.Errorf("statistics %+v, error %v; want nothing lost", s, err)
	}
}

// TestManySpecs attaches more ways to read arguments than one program holds.
func TestManySpecs(t *testing.T) {
	testenv.BPF(t)
	path := fixture.Build(t, "sites.c", "-DSITES=300")
	sites, _ := foreignSites(t, path)
	for i := range sites {
		n := i % 150
		sites[i].Captures = []probe.Capture{
			{Operand: probe.Operand{Kind: probe.OperandConst, Size: 8, Const: int64(n)}, Type: probe.CaptureInt},
			{Operand: probe.Operand{Kind: probe.OperandConst, Size: 8, Const: int64(n) << 40}, Type: probe.CaptureInt},
		}
	}
	p := fixture.Start(t, path)
	p.Expect("ready")
	tr := open(t, loader.Options{})
	began := time.Now()
	attach(t, tr, p.Pid(), path, sites)
	t.Logf("attached in %v with %d links", time.Since(began), tr.Links())
	p.WriteLine("go")
	p.CloseStdin()
	p.ReadAll()
	p.WaitOK()
	hits := 0
	drain(t, tr, func(e *event.Marker) {
		hits++
		n := uint64(e.Site % 150)
		if e.Values[0].Int != n || e.Values[1].Int != n<<40 {
			t.Fatalf("site %d: values %d and %d, want %d and %d", e.Site, e.Values[0].Int, e.Values[1].Int, n, n<<40)
		}
	})
	if hits < len(sites) {
		t.Errorf("%d hits of %d sites", hits, len(sites))
	}
}

// TestLargestPrograms lets the verifier judge the largest programs there can be.
func TestLargestPrograms(t *testing.T) {
	testenv.BPF(t)
	path := fixture.Build(t, "sites.c", "-DSITES=100")
	p := fixture.Start(t, path)
	p.Expect("ready")
	sites, _ := foreignSites(t, path)
	for i := range sites {
		mem := probe.Operand{Kind: probe.OperandMem, Size: 4, Signed: true, HasBase: true, HasIndex: true, Shift: 3, Disp: int64(i)}
		sites[i].Captures = slices.Repeat([]probe.Capture{{Operand: mem, Len: mem, Type: probe.CaptureBytes, Max: probe.MaxString}}, probe.MaxCaptures)
	}
	// The way of attaching changes nothing for the verifier.
	for _, without := range []loader.Without{{}, {Sleepable: true}} {
		attach(t, open(t, loader.Options{Without: without}), p.Pid(), path, sites)
	}
}
