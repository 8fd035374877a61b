// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// modes are the ways in which values reach user space.
var modes = []struct {
	name    string
	without loader.Without
}{
	{"native", loader.Without{}},
	{"no-cpu-rings", loader.Without{CPURings: true}},
	{"no-uprobe-multi", loader.Without{UprobeMulti: true}},
	{"no-sleepable", loader.Without{Sleepable: true}},
}

// expectation is what foreign.c says about one of its probes.
type expectation struct {
	probe  string
	values []string
}

// readExpectations reads foreign.c's values up to its "ready".
func readExpectations(p *fixture.Proc) (all []expectation) {
	for line := p.ReadLine(); line != "ready"; line = p.ReadLine() {
		words := strings.Fields(strings.TrimPrefix(line, "expect "))
		e := expectation{words[0], words[1:]}
		if n := len(e.values) - 1; e.probe == "text" {
			e.values = []string{strings.Join(e.values[:n], " "), e.values[n]}
		}
		all = append(all, e)
	}
	return all
}

// pair returns a --pair that captures every argument of the probe.
func (e expectation) pair() string {
	var b strings.Builder
	fmt.Fprintf(&b, "foreign:%s/none", e.probe)
	if e.probe == "none" {
		return "foreign:none/nobase"
	}
	for i := range e.values {
		typ := ""
		if e.probe == "text" && i == 0 {
			typ = ":str(arg1)"
		}
		fmt.Fprintf(&b, ";attr.a%02d=arg%d%s", i, i, typ)
	}
	return b.String()
}

// valuesOf returns the attributes a00, a01, … of a boundary as foreign.c would
// print them.
func valuesOf(t *testing.T, b *stream.Boundary, n int) []string {
	t.Helper()
	found := make(map[string]any)
	if len(b.Attributes) > 0 {
		d := json.NewDecoder(bytes.NewReader(b.Attributes))
		d.UseNumber()
		if err := d.Decode(&found); err != nil {
			t.Fatalf("attributes %s: %v", b.Attributes, err)
		}
	}
	out := make([]string, n)
	for i := range out {
		out[i] = "?"
		if v, ok := found[fmt.Sprintf("a%02d", i)]; ok {
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}

// Every operand form is decoded to the value that the program itself printed,
// and an operand that cannot be decoded loses itself only. On the nops of libbpf's
// usdt.h too.
func TestForeignOperands(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { foreignOperands(t, m.without) })
	}
	t.Run("libbpf's nops", func(t *testing.T) { foreignOperands(t, loader.Without{}, "-DLIBBPF_NOPS") })
}

func foreignOperands(t *testing.T, without loader.Without, flags ...string) {
	p := fixture.Start(t, fixture.Build(t, "foreign.c", flags...))
	want := readExpectations(p)
	if len(want) < 12 {
		t.Fatalf("foreign.c tells of %d probes only", len(want))
	}
	var specs []string
	for _, e := range want {
		specs = append(specs, e.pair())
	}
	tr := attach(t, []int{p.Pid()}, Config{Pairs: mustPairs(t, specs...), Without: without})
	const goes = 2 // some kernels make calls of nops at their first hit
	for range goes {
		p.WriteLine("go")
		p.ReadLine() // of probe two, below
		p.Expect("done")
	}
	p.CloseStdin()
	p.WaitOK()
	sum := tr.wait()
	if sum.Lost != 0 || len(sum.ZeroSites) != 0 {
		t.Errorf("%d lost, sites never hit %v; want none", sum.Lost, sum.ZeroSites)
	}
	compareValues(t, want, tr.boundaries, goes)
}

// compareValues wants each probe to have been hit so many times, with what the
// program printed.
func compareValues(t *testing.T, want []expectation, got []stream.Boundary, times int) {
	t.Helper()
	entered := make(map[string][]*stream.Boundary)
	for i := range got {
		if b := &got[i]; b.Action == recorder.Enter {
			entered[b.Marker.Probe] = append(entered[b.Marker.Probe], b)
		}
	}
	values := 0
	for _, e := range want {
		if n := len(entered[e.probe]); n != times {
			t.Errorf("%s was traced %d times, want %d", e.probe, n, times)
		}
		for _, b := range entered[e.probe] {
			if diff := cmp.Diff(e.values, valuesOf(t, b, len(e.values)), cmp.Transformer("", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
				t.Errorf("%s: values differ (-printed +traced):\n%s", e.probe, diff)
			}
		}
		values += len(e.values)
	}
	t.Logf("%d values of %d probes as printed", values, len(want))
}

// Two sites of one probe with a semaphore each: both are raised while traced
// and lowered again afterwards.
func TestTwoSemaphores(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "foreign.c"))
			readExpectations(p)
			tr := attach(t, []int{p.Pid()}, Config{Without: m.without,
				Pairs: mustPairs(t, "foreign:two/none;attr.a00=arg0")})
			p.WriteLine("go")
			p.Expect("two 1 1")
			p.Expect("done")
			tr.stop()
			p.WriteLine("go")
			p.Expect("two 0 0")
			p.Expect("done")
			p.CloseStdin()
			p.WaitOK()
			var got []string
			for i := range tr.boundaries {
				if b := &tr.boundaries[i]; b.Action == recorder.Enter {
					got = append(got, valuesOf(t, b, 1)...)
				}
			}
			if diff := cmp.Diff([]string{"1", "2"}, got); diff != "" {
				t.Errorf("the two sites gave (-want +got):\n%s", diff)
			}
		})
	}
}
