// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// keeper is an output that keeps records as they are, and what they said then.
type keeper struct {
	records []stream.Record
	said    []string
}

func (k *keeper) Record(r stream.Record) {
	if b, ok := r.(*stream.Boundary); ok {
		kept := *b // the engine uses it again
		r = &kept
	}
	k.records = append(k.records, r)
	k.said = append(k.said, who(r))
}

// who is what a record says of who it is about.
func who(r stream.Record) string {
	switch r := r.(type) {
	case *stream.Boundary:
		return fmt.Sprintf("%s %s of thread %+v of %+v", r.Action, r.Path, named(r.Thread), *r.Thread.Process)
	case *stream.Violation:
		return fmt.Sprintf("violation by thread %+v of %+v", named(r.Thread), *r.Thread.Process)
	case *stream.Orphan:
		return fmt.Sprintf("orphan of thread %+v of %+v", named(r.Thread), *r.Thread.Process)
	case *stream.Loss:
		return fmt.Sprintf("loss of thread %+v of %+v", named(r.Thread), *r.Thread.Process)
	case *stream.ProcessChange:
		return fmt.Sprintf("process %+v at %d, started %v, exec %v", *r.Process, r.Time, r.Started, r.Exec)
	}
	return fmt.Sprintf("%T", r)
}

func named(t *stream.Thread) stream.Thread {
	c := *t
	c.Process = nil
	return c
}

// kept returns an engine that writes into a keeper, and its machine.
func kept() (*keeper, *Engine, *machine) {
	k := &keeper{}
	e := New(Config{SessionID: "s", PageSize: 4096}, k)
	addSites(e)
	return k, e, newMachine(e)
}

// Whom a record names stays as it was when the record was made, whatever becomes
// of the thread and the process: records can be kept without a copy of that.
func TestIdentitiesNeverChange(t *testing.T) {
	k, e, m := kept()
	e.AddProcess(stream.Process{PID: 101, HostPID: 101, Comm: "old", Exe: "/old"})
	main := m.newTask(0)
	m.marker(main, enterMarker, 1, "a", 7)
	m.marker(main, enterMarker, 2, "b", -1)
	main.rename("renamed")
	m.marker(main, exitMarker, 1, "", -1) // a violation
	m.marker(main, exitMarker, 2, "", -1) // an orphan
	m.marker(main, enterMarker, 3, "c", 8)
	m.full = func() bool { return true }
	m.marker(main, exitMarker, 3, "", -1)
	m.full = func() bool { return false }
	m.marker(main, enterMarker, 4, "d", -1)
	e.End()
	e.Described(101, Description{Comm: "described", Exe: "/described", StartTime: 5, ContainerPID: 3})
	other := m.newTask(101)
	m.marker(other, enterMarker, 5, "e", -1)
	former := other.tid
	other.run(m.now)
	other.tid, other.comm = 101, "new"
	other.start = main.start
	m.exec(other, former)
	m.marker(other, enterMarker, 6, "f", -1)
	m.processExit(other, 0)
	e.End()
	if e.stats.Internal() != 0 || len(k.records) < 15 {
		t.Fatalf("%d records, %d mishandled: %q", len(k.records), e.stats.Internal(), k.said)
	}
	kinds := make(map[string]bool)
	for i, r := range k.records {
		kinds[fmt.Sprintf("%T", r)] = true
		if got := who(r); got != k.said[i] {
			t.Errorf("record %d says %s, and said %s", i, got, k.said[i])
		}
	}
	if len(kinds) != 5 {
		t.Errorf("only %d kinds of records: %v", len(kinds), kinds)
	}
}

// Two ranks that take turns in a process take no memory.
func TestRanksDoNotAllocate(t *testing.T) {
	e := New(Config{SessionID: "s", PageSize: 4096}, discard{})
	addSites(e)
	m := newMachine(e)
	task := m.newTask(0)
	phase := func(rank int32) {
		m.marker(task, enterMarker, 1, "a", rank)
		m.marker(task, exitMarker, 1, "", -1)
	}
	both := func() { phase(1); phase(2) }
	both()
	name := []byte("a")
	ev := m.ev
	each := func(site uint32, rank int32) {
		ev.Site, ev.Effect, ev.Seq = site, m.sites[site].Effect, task.seq
		ev.Values[valueToken].Int, ev.Values[valueName].Str, ev.Values[valueRank].Int = 1, name, uint64(rank)
		ev.Depth, ev.Low = int32(1-site%2), 0
		task.seq++
		e.Handle(&ev)
	}
	if n := testing.AllocsPerRun(100, func() {
		each(enterMarker, 1)
		each(exitMarker, -1)
		each(enterMarker, 2)
		each(exitMarker, -1)
	}); n != 0 {
		t.Errorf("%v allocations for two phases of two ranks, want none", n)
	}
	if e.stats.Internal() != 0 || e.defects.total != 0 {
		t.Errorf("%d mishandled, %d violations", e.stats.Internal(), e.defects.total)
	}
}

// lines returns what was said of processes and boundaries, in short.
func (k *keeper) lines() (out []string) {
	for _, r := range k.records {
		switch r := r.(type) {
		case *stream.Boundary:
			out = append(out, fmt.Sprintf("%s %s", r.Action, r.Path))
		case *stream.ProcessChange:
			what := "ended"
			switch {
			case r.Exec:
				what = "exec"
			case r.Started:
				what = "started"
			}
			out = append(out, fmt.Sprintf("%s %s %q at %d", what, r.Process.Comm, r.Process.Exe, r.Time))
		}
	}
	return out
}

// An exec is reported with its own time: once the process is described, before its
// next record, or at its end, whichever comes first.
func TestExecTold(t *testing.T) {
	program := Description{Comm: "program", Exe: "/program"}
	for _, c := range []struct {
		name string
		then func(e *Engine, m *machine, task *task)
		want []string
	}{
		{"once described", func(e *Engine, m *machine, task *task) {
			e.End()
			e.Described(101, program)
			m.marker(task, enterMarker, 1, "a", -1)
		}, []string{`exec program "/program" at 1`, "enter a"}},
		{"before its next record", func(e *Engine, m *machine, task *task) {
			m.marker(task, enterMarker, 1, "a", -1)
			e.End()
			e.Described(101, program)
			m.marker(task, exitMarker, 1, "", -1)
		}, []string{`exec ran "" at 1`, "enter a", "exit a"}},
		{"at its end", func(_ *Engine, m *machine, task *task) {
			m.processExit(task, 0)
		}, []string{`exec ran "" at 1`, `ended ran "" at 2`}},
		{"at the end of the session", func(e *Engine, m *machine, _ *task) {
			e.Finish(m.now)
		}, []string{`exec ran "" at 1`}},
		{"not of the process before", func(e *Engine, m *machine, _ *task) {
			e.End()
			stale := program
			stale.StartTime = 6
			e.Described(101, stale)
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, e, m := kept()
			e.AddProcess(stream.Process{PID: 101, HostPID: 101, Comm: "shell", Exe: "/shell", StartTime: 5})
			task := m.newTask(0)
			task.comm, task.marked = "ran", true
			task.run(0)
			m.exec(task, task.tid)
			c.then(e, m, task)
			e.End()
			if got := k.lines(); !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
			if id := e.Process(101); id != nil && c.want != nil && id.Exe == "/shell" {
				t.Error("the program before is still said to run")
			}
		})
	}
}

// A child is known from the record of its birth alone.
func TestForkedIdentity(t *testing.T) {
	k := &keeper{}
	e := New(Config{SessionID: "s", PageSize: 4096, BootShift: 2_000_000_000}, k)
	e.AddProcess(stream.Process{PID: 50, HostPID: 1050, Comm: "parent", Exe: "/bin/parent", Rank: 3, RankSource: "RANK", StartTime: 1})
	e.Begin()
	e.Handle(&event.Fork{Head: event.Head{Time: 9, PID: 1050, TID: 1050}, Parent: 50, Child: 1060,
		Who: event.Identity{ViewPID: 60, InnerPID: 7, Comm: []byte("child"), StartTime: 12_345_678_901}})
	e.End()
	want := stream.Process{PID: 60, HostPID: 1060, ContainerPID: 7, Comm: "child", Exe: "/bin/parent", Rank: 3, RankSource: "RANK", Parent: 50, StartTime: 1434}
	if got := e.Process(60); got == nil || *got != want {
		t.Errorf("the child is %+v, want %+v", got, want)
	}
	if len(k.records) != 1 || who(k.records[0]) != fmt.Sprintf("process %+v at 9, started true, exec false", want) {
		t.Errorf("told %q", k.said)
	}
}

// A rank that a marker gives goes before what the system says.
func TestRankOfMarker(t *testing.T) {
	_, e, m := kept()
	e.AddProcess(stream.Process{PID: 101, HostPID: 101})
	e.Described(101, Description{Rank: 4, RankSource: "RANK"})
	if p := e.Process(101); p.Rank != 4 || p.RankSource != "RANK" {
		t.Errorf("described as %+v, want rank 4", p)
	}
	m.marker(m.newTask(0), enterMarker, 1, "a", 9)
	e.End()
	e.Described(101, Description{Exe: "/x", Rank: 4, RankSource: "RANK"})
	if p := e.Process(101); p.Rank != 9 || p.RankSource != "marker" || p.Exe != "/x" {
		t.Errorf("after a marker, described as %+v, want rank 9 and its program", p)
	}
}

// A title that a record tells holds from that record on, and one that was read before it
// does not replace it.
func TestTitleByRecord(t *testing.T) {
	k := &keeper{}
	e := New(Config{SessionID: "s", PageSize: 4096, Title: func(memory []byte, arguments int, comm, exe string) string {
		return fmt.Sprintf("%s/%d of %s, %s", memory, arguments, comm, exe)
	}}, k)
	addSites(e)
	m := newMachine(e)
	e.AddProcess(stream.Process{PID: 101, HostPID: 101, Comm: "server", Exe: "/server"})
	task := m.newTask(0)
	before := m.now
	m.send(func(h event.Head) event.Event {
		return &event.Thread{Head: h, Who: m.identity(task), Arguments: []byte("worker"), ArgumentsSize: 20}
	}, task)
	task.told = true
	m.marker(task, enterMarker, 1, "a", -1)
	e.End()
	const title = "worker/20 of server, /server"
	e.Titled(101, 0, "", before)
	if got := e.Process(101).Title; got != title {
		t.Errorf("the title is %q, want %q", got, title)
	}
	e.Titled(101, 0, "server: idle", m.now)
	if got := e.Process(101).Title; got != "server: idle" {
		t.Errorf("the title is %q after a later look", got)
	}
	if b, ok := k.records[1].(*stream.Boundary); !ok || b.Thread.Process.Title != title {
		t.Errorf("the records are %+v, want a phase of %q behind its title", k.records, title)
	}
}

// A title is told once it is read, and belongs to the program that was running then.
func TestTitles(t *testing.T) {
	k, e, m := kept()
	e.AddProcess(stream.Process{PID: 101, HostPID: 101, Comm: "server"})
	task := m.newTask(0)
	m.marker(task, enterMarker, 1, "a", -1)
	e.End()
	e.Titled(101, 0, "server: worker 1", m.now)
	e.Titled(101, 0, "server: worker 1", m.now) // no news
	e.Titled(404, 0, "nobody", m.now)
	e.Begin()
	m.marker(task, exitMarker, 1, "", -1)
	asOf := m.now - 1
	m.exec(task, task.tid)
	m.marker(task, enterMarker, 2, "b", -1)
	e.End()
	e.Titled(101, 0, "server: worker 2", asOf) // read before it ran the program that it runs now
	var got []string
	for _, r := range k.records {
		switch r := r.(type) {
		case *stream.Boundary:
			got = append(got, fmt.Sprintf("%s %q", r.Action, r.Thread.Process.Title))
		case *stream.ProcessChange:
			got = append(got, fmt.Sprintf("change %v %q was %q", r.Titled, r.Process.Title, r.Before))
		}
	}
	want := []string{`enter ""`, `change true "server: worker 1" was ""`, `exit "server: worker 1"`, `change false "" was ""`, `enter ""`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
