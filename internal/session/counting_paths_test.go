// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/loader"
)

func named(id, parent uint32, name string, entered uint64) loader.AggregatePath {
	return loader.AggregatePath{ID: id, Parent: parent, Name: name, AggregateFigures: loader.AggregateFigures{Entered: entered}}
}

func literal(id, parent uint32, l loader.Literal, entered uint64) loader.AggregatePath {
	p := named(id, parent, "", entered)
	p.Literal = l
	return p
}

// Paths of equal names are one, whatever process and pair they are of.
func TestMergeCounted(t *testing.T) {
	process := func(id uint32) loader.AggregatePath {
		return loader.AggregatePath{ID: id, Process: &loader.AggregateProcess{PID: int(id)}}
	}
	other := named(4096+3, 3, "", 9)
	other.Overflow = true
	a := &loader.Aggregate{Paths: []loader.AggregatePath{
		process(1),
		named(2, 1, "train", 1),
		named(3, 2, "step", 5),
		process(4),
		named(5, 4, " train\n", 2), // names are trimmed
		literal(6, 5, loader.LiteralOf(0), 3),
		literal(7, 5, loader.LiteralNull, 4),
		literal(8, 1, loader.LiteralUnreadable, 6),
		named(9, 1, " \x1c", 7),
		literal(10, 1, loader.LiteralEmpty, 8),
		named(11, 1, "never entered", 0),
		named(12, 3, recorder.OtherName, 1), // what the program calls so is no overflow
		other,
	}}
	c := newCounting(&Config{}, nil)
	c.pairs = []*pair{{Pair: &engine.Pair{Name: []byte("step")}}}
	c.processes = map[uint32]*stream.Process{1: {PID: 101}, 4: {PID: 104}}
	all, processes := c.merge(a)
	counts := func(stats []stream.PathStats) map[string]uint64 {
		out := make(map[string]uint64)
		for _, p := range stats {
			name := p.Path.String()
			if p.Path.Overflow() {
				name += " overflow"
			}
			out[name] = p.Count
		}
		return out
	}
	want := map[string]uint64{
		"train": 3, "train / step": 8, "train / (null)": 4, "(unreadable)": 6, "(empty)": 15, "train / step / (other)": 1,
		"train / step / (other) overflow": 9,
	}
	if diff := cmp.Diff(want, counts(all.Paths())); diff != "" {
		t.Errorf("all processes (-want +got):\n%s", diff)
	}
	if len(processes) != 2 || processes[0].Process.PID != 101 || processes[1].Process.PID != 104 {
		t.Fatalf("processes %+v, want 101 and 104", processes)
	}
	want = map[string]uint64{"train": 2, "train / step": 3, "train / (null)": 4}
	if diff := cmp.Diff(want, counts(processes[1].Paths)); diff != "" {
		t.Errorf("second process (-want +got):\n%s", diff)
	}
	if again, _ := c.merge(a); again.Paths()[0].Path != all.Paths()[0].Path {
		t.Error("a second reading gives paths other than the first")
	}
}
