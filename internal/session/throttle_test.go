// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// latest returns what became of a pair last.
func (c *collector) latest(name string) (last stream.PairChange, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pairs {
		if p.Name == name {
			last, changes = p, changes+1
		}
	}
	return last, changes
}

// A program that hits its markers at a high rate is kept within the budget: the inner
// pair goes, then the outer one is traced for a part of the time. When the program has
// little to do both come back. What is traced meanwhile is right, and what is not is
// said; the program computes what it always does.
func TestBudget(t *testing.T) {
	for name, follow := range map[string]bool{"one process": false, "followed": true} {
		t.Run(name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, "loads.c"))
			p.Expect("ready")
			tr := attach(t, []int{p.Pid()}, Config{Follow: follow, MaxOverhead: 0.005})
			t.Cleanup(func() {
				if t.Failed() {
					for _, c := range tr.pairs {
						t.Logf("%+v", c)
					}
					t.Logf("a hit costs %v", tr.session.costs.hit())
				}
			})
			p.WriteLine("go")
			p.WriteLine("fast")
			p.Expect("fast")
			eventually(t, "the removal of the inner pair", func() bool { c, n := tr.latest("inner"); return n > 0 && c.Part == 0 })
			eventually(t, "a part of the outer pair", func() bool { c, n := tr.latest("outer"); return n > 0 && c.Part > 0 && c.Part < 1 })
			// It is traced for that part again and again, or left out, and that is told,
			// where attaching and removing takes so long that the part costs too much.
			seen := tr.count("outer")
			eventually(t, "more of the outer pair", func() bool {
				c, _ := tr.latest("outer")
				return tr.count("outer") > seen+1000 || c.Part == 0
			})
			p.WriteLine("slow")
			p.Expect("slow")
			for _, name := range []string{"outer", "inner"} {
				eventually(t, name+" again", func() bool { c, _ := tr.latest(name); return c.Part == 1 })
				seen := tr.count(name)
				eventually(t, name+" traced", func() bool { return tr.count(name) > seen })
			}
			p.WriteLine("quit")
			if line := p.ReadLine(); !strings.HasPrefix(line, "done ") {
				t.Errorf("the program says %q", line)
			}
			p.WaitOK()
			sum := tr.wait()
			if sum.ViolationTotal != 0 || sum.Lost != 0 {
				t.Errorf("%d violations, %d lost: %+v", sum.ViolationTotal, sum.Lost, sum.Violations)
			}
			mustBeParts(t, tr, sum)
		})
	}
}

// mustBeParts checks what a session says of pairs that were not traced all the time.
func mustBeParts(t *testing.T, tr *tracing, sum *stream.Summary) {
	t.Helper()
	for _, path := range sum.Paths {
		if names := path.Path.String(); !slices.Contains([]string{"outer", "outer / inner", "inner"}, names) {
			t.Errorf("there is a path %q", names)
		}
		if path.LeftOut <= 0 || path.LeftOut >= 1 {
			t.Errorf("%s was left out for %v of the time", path.Path, path.LeftOut)
		}
	}
	if len(sum.Parts) != 2 {
		t.Fatalf("%+v: want two pairs", sum.Parts)
	}
	for _, part := range sum.Parts {
		if part.Cuts == 0 || part.Part != 1 || part.LeftOut <= 0 || part.Budget != 0.005 {
			t.Errorf("%+v", part)
		}
	}
	// The inner pair goes first and comes last.
	first := tr.pairs[0]
	last := tr.pairs[len(tr.pairs)-1]
	if first.Name != "inner" || first.Part != 0 || first.Share <= 0.005 {
		t.Errorf("first %+v: want the inner pair to go", first)
	}
	if last.Name != "inner" || last.Part != 1 {
		t.Errorf("last %+v: want the inner pair to come back", last)
	}
}

// count is how many phases of a name have ended by a marker.
func (c *collector) count(name string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.boundaries {
		if b := &c.boundaries[i]; b.Action == recorder.Exit && b.Synthetic == stream.ReasonNone && b.Path.Name() == name {
			n++
		}
	}
	return n
}

// Where phases are counted in the kernel there is no budget.
func TestBudgetCounted(t *testing.T) {
	if _, err := Open(Config{Count: true, MaxOverhead: 0.02}); err == nil {
		t.Error("it is taken")
	}
}
