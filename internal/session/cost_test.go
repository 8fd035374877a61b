// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/hitcost"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Hits are told to the last one, by process and pair, with the CPU time that the
// process used meanwhile; in the middle of a session and at its end, recorded and
// counted in the kernel.
func TestCost(t *testing.T) {
	for name, counted := range map[string]bool{"recorded": false, "counted": true} {
		t.Run(name, func(t *testing.T) {
			const hits = 2 * 30000
			p := fixture.Start(t, fixture.Build(t, "spin.c"), "1", "30000", "inline")
			p.Expect("ready")
			before, err := process.CPUTime(p.Pid())
			if err != nil {
				t.Fatal(err)
			}
			tr := attach(t, []int{p.Pid()}, Config{Count: counted})
			p.WriteLine("go")
			for p.ReadLine() != "again" {
			}
			eventually(t, "a measurement", func() bool { return tr.session.Snapshot().Cost.Unknown == "" })
			if !counted { // counts are read once a second
				eventually(t, "a snapshot with all hits", func() bool { return tr.session.Snapshot().Cost.All.Hits == hits })
			}
			sum := tr.stop()
			after, err := process.CPUTime(p.Pid())
			if err != nil {
				t.Fatal(err)
			}
			c := sum.Cost
			if c.Unknown != "" || len(c.Hit) != 3 || c.Hit[0].Cost <= 0 {
				t.Fatalf("a hit costs %+v, unknown %q", c.Hit, c.Unknown)
			}
			if c.Total != 1 || len(c.Processes) != 1 || c.Processes[0].Process.PID != p.Pid() {
				t.Fatalf("%+v: want the one process", c)
			}
			one := c.Processes[0]
			if one.Hits != hits || c.All.Hits != hits || len(one.Pairs) != 1 || one.Pairs[0].Hits != hits {
				t.Errorf("%+v: want %d hits of one pair", one, hits)
			}
			if one.Cost < hits*c.Hit[0].Cost || one.Cost > hits*c.Hit[2].Cost || c.All.Cost != one.Cost {
				t.Errorf("cost %v for %d hits at %+v", one.Cost, hits, c.Hit)
			}
			if !one.CPUKnown || one.CPU <= 0 || one.CPU > after-before || c.All.CPU != one.CPU {
				t.Errorf("CPU time %v, %v; the process has used %v since before the attach", one.CPU, one.CPUKnown, after-before)
			}
			// A hit is nearly all that spin does.
			if share, ok := one.Share(); !ok || share < 0.3 {
				t.Errorf("%v of the CPU time, %v", share, ok)
			}
		})
	}
}

// The CPU time of processes that come and go between two looks is not lost with them.
func TestCostOfShortProcesses(t *testing.T) {
	const children, phases = 10, 40000
	p := fixture.Start(t, fixture.Build(t, "forkloop.c"), "10", "40000")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Follow: true})
	p.WriteLine("go")
	p.Expect("done 10 0")
	p.WaitOK()
	c := tr.wait().Cost
	if c.Total != children || c.All.Hits != 2*children*phases {
		t.Errorf("%d processes, %d hits; want %d and %d", c.Total, c.All.Hits, children, 2*children*phases)
	}
	var cpu time.Duration
	for _, one := range c.Processes {
		if !one.CPUKnown || one.Hits != 2*phases {
			t.Errorf("%+v of a child", one)
		}
		cpu += one.CPU
	}
	if !c.All.CPUKnown || c.All.CPU != cpu {
		t.Errorf("%v, %v in all; the sum is %v", c.All.CPU, c.All.CPUKnown, cpu)
	}
	// The kernel's figure lacks what a child used since the last tick, at most 10 ms.
	if used := p.FamilyTime(); cpu < used/2 || cpu > used+time.Millisecond {
		t.Errorf("children used %v, told are %v", used, cpu)
	}
}

// A process of whose end nobody tells is not told to have used nothing.
func TestCPUTimes(t *testing.T) {
	clocks := map[int]time.Duration{1: 100, 2: 50}
	c := newCPUTimes()
	c.read = func(pid int) (time.Duration, error) {
		if at, ok := clocks[pid]; ok {
			return at, nil
		}
		return 0, errors.New("gone")
	}
	check := func(what string, cpu time.Duration, known bool, want time.Duration, wantKnown bool) {
		t.Helper()
		if known != wantKnown || known && cpu != want {
			t.Errorf("%s: %d, %v; want %d, %v", what, cpu, known, want, wantKnown)
		}
	}
	exit := func(pid int, cpu uint64, started uint64) {
		ev := &event.ProcessExit{CPUTime: cpu}
		ev.Who.ViewPID = pid
		c.exited(ev, started)
	}
	c.begin(1)
	c.since = 1000
	clocks[1], clocks[3] = 170, 30
	c.look([]*stream.Process{{PID: 1, StartTime: 5}, {PID: 2, StartTime: 6}, {PID: 3, StartTime: 1001}})
	cpu, known := c.of(1)
	check("since the attach", cpu, known, 70, true)
	cpu, known = c.of(2)
	check("found later, and older than the session", cpu, known, 0, true)
	cpu, known = c.of(3)
	check("found later, and younger", cpu, known, 30, true)
	cpu, known = c.of(4)
	check("never seen", cpu, known, 0, false)

	delete(clocks, 3)
	exit(3, 45, 1001)
	cpu, known = c.take(3, false)
	check("ended, as the kernel told", cpu, known, 45, true)
	clocks[1] = 260
	exit(1, 255, 5)
	delete(clocks, 1)
	cpu, known = c.take(1, false)
	check("ended, and read as a zombie", cpu, known, 160, true)
	cpu, known = c.take(1, false)
	check("ended, and taken already", cpu, known, 0, false)

	exit(5, 12, 1002)
	exit(5, 13, 1003)
	cpu, known = c.of(5)
	check("two with one id", cpu, known, 0, false)
	cpu, known = c.take(5, false)
	check("born and ended between two looks", cpu, known, 12, true)
	cpu, known = c.take(5, false)
	check("with the same id, afterwards", cpu, known, 13, true)
	exit(6, 99, 900)
	cpu, known = c.take(6, false)
	check("ended, had a life before the session, never read", cpu, known, 0, false)

	delete(clocks, 2)
	c.look([]*stream.Process{{PID: 2}})
	cpu, known = c.take(2, false)
	check("gone without a word", cpu, known, 0, false)
}

// The cost of all is the sum of those of each, by pair too, and the most expensive come
// first.
func TestCostsAddUp(t *testing.T) {
	a, b := &engine.Pair{ID: "t:a", Name: []byte("a")}, &engine.Pair{ID: "t:b"}
	price := hitcost.Cost{{Gap: 0, Cost: 500}, {Gap: 1000, Cost: 700}}
	hits := func(pid int, cpu time.Duration, pairs ...engine.PairHits) processHits {
		return processHits{Tally: engine.Tally{Process: &stream.Process{PID: pid}, Pairs: pairs}, processes: 1, cpu: cpu, known: cpu > 0}
	}
	cold := hits(1, time.Second, engine.PairHits{Pair: a, Hits: 100}, engine.PairHits{Pair: b, Hits: 300})
	hot := hits(2, 500*1000, engine.PairHits{Pair: a, Hits: 1000})
	unknown := hits(3, 0, engine.PairHits{Pair: b, Hits: 10})
	unknown.Lost = 5
	out := &stream.TracingCost{}
	addUp(out, []processHits{cold, {}, hot, unknown}, price)
	if got, want := out.All.Cost, time.Duration(400*700+1000*500+15*700); got != want || out.All.Hits != 1415 || out.Total != 3 {
		t.Errorf("%v for %d hits of %d processes, want %v for 1415 of 3", got, out.All.Hits, out.Total, want)
	}
	if out.All.CPUKnown {
		t.Errorf("the CPU time of all is known, and one of them is not")
	}
	if len(out.Processes) != 3 || out.Processes[0].Process.PID != 2 || out.Processes[1].Process.PID != 1 {
		t.Fatalf("%+v: want the most expensive first", out.Processes)
	}
	pairs := out.Processes[1].Pairs
	if len(pairs) != 2 || pairs[0] != (stream.PairCost{Name: "t:b", Hits: 300, Cost: 300 * 700}) || pairs[1].Name != "a" {
		t.Errorf("%+v", pairs)
	}
	if len(out.All.Pairs) != 2 || out.All.Pairs[0].Hits != 1100 || out.All.Pairs[1].Hits != 310 {
		t.Errorf("%+v of all", out.All.Pairs)
	}
}
