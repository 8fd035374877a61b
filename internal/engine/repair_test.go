// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A library is attached to while a phase of it is open inside a phase of the
// program: the exit of the one whose enter was passed over is no violation.
func TestAttachedInsidePhase(t *testing.T) {
	e, m := bounded()
	task := m.newTask(0)
	m.marker(task, enterMarker, 1, "dlopen", -1)
	m.marker(task, 2*pairWork, 0, "", -1) // of the library, before all its sites are attached
	e.Attached(0, []probe.Site{{ID: 2 * pairWork}, {ID: 2*pairWork + 1}}, m.now+1, 0)
	m.marker(task, 2*pairWork+1, 0, "", -1)
	m.now++
	e.sites.list[2*pairWork+1].gateAll = gate{time: m.now}
	e.sites.list[2*pairWork+1].gate = gate{time: m.now}
	m.marker(task, 2*pairWork+1, 0, "", -1)
	m.marker(task, exitMarker, 1, "", -1)
	if e.defects.total != 0 || e.stats.Orphans != 1 || snapshot(e).Boundaries != 4 {
		t.Errorf("%d violations, %d orphans, %d boundaries", e.defects.total, e.stats.Orphans, snapshot(e).Boundaries)
	}
}

// Markers hit while probes are being removed are passed over.
func TestDetaching(t *testing.T) {
	e, m := bounded()
	task := m.newTask(0)
	m.marker(task, 2*pairWork, 0, "", -1)
	e.Detaching(m.now + 1)
	m.marker(task, 2*pairWork+1, 0, "", -1)
	m.marker(task, 2*pairWork+1, 0, "", -1)
	e.Finish(m.now)
	if e.defects.total != 0 || snapshot(e).Boundaries != 2 || e.stats.Outside != 2 {
		t.Errorf("%d violations, %d boundaries, %d passed over", e.defects.total, snapshot(e).Boundaries, e.stats.Outside)
	}
}

// Many scopes closed by one repair do not come back as violations.
func TestLateExits(t *testing.T) {
	const inner = 900
	e, m := bounded()
	task := m.newTask(0)
	for i := range inner + 1 {
		m.marker(task, enterMarker, uint64(i)+1, "n", -1)
	}
	m.marker(task, exitMarker, 1, "", -1) // the outermost first
	for i := range inner {
		m.marker(task, exitMarker, uint64(inner+1-i), "", -1)
	}
	if e.defects.total != 1 || orphans(e, stream.OrphanRepaired) != inner || e.exits.left != maxExpected {
		t.Errorf("%d violations, %d exits of repaired scopes, %d more expected; want one, all the others and none", e.defects.total, orphans(e, stream.OrphanRepaired), maxExpected-e.exits.left)
	}
}

// Markers lost for want of memory leave no gap in the numbers: an exit without
// an enter is then nobody's defect.
func TestLostWithoutGap(t *testing.T) {
	for _, stateless := range []uint64{0, 1} {
		e, m := bounded()
		e.losses.ask = func() (uint64, uint64) { return stateless, stateless }
		task := m.newTask(0)
		m.marker(task, enterMarker, 1, "outer", -1)
		m.marker(task, exitMarker, 2, "", -1) // its enter, 2, was lost; in a phase
		m.marker(task, enterMarker, 3, "inner", -1)
		m.marker(task, exitMarker, 1, "", -1) // the exit of 3 was lost
		want := uint64(0)
		if stateless == 0 {
			want = 2
		}
		if e.defects.total != want {
			t.Errorf("%d markers lost without a gap: %d violations, want %d", stateless, e.defects.total, want)
		}
	}
}

// changes is an output that keeps processes that come and go.
type changes struct{ told []stream.Record }

func (c *changes) Record(r stream.Record) {
	if _, ok := r.(*stream.ProcessChange); ok {
		c.told = append(c.told, stream.Clone(r))
	}
}

// A child that was found by a look is not born again by the record of its birth.
func TestAdoptedBeforeItsFork(t *testing.T) {
	c := &changes{}
	e := New(Config{SessionID: "s", PageSize: 4096}, c)
	e.AddProcess(stream.Process{PID: 50, HostPID: 1050})
	e.AddProcess(stream.Process{PID: 60})
	e.Begin()
	e.Handle(&event.Fork{Head: event.Head{Time: 1, PID: 1050, TID: 1050}, Parent: 50, Child: 1060, Who: event.Identity{ViewPID: 60, InnerPID: 7}})
	e.End()
	if len(c.told) != 0 {
		t.Errorf("told of %d processes that had come or gone, want none", len(c.told))
	}
	if p := e.tasks.processes[60]; p == nil || p.id.HostPID != 1060 || p.id.ContainerPID != 7 || p.id.Parent != 50 || !p.inherited {
		t.Errorf("the child is %+v", p)
	}
}

// A loss of a thread that is gone is reported for its own process, even where ids are
// others than the host's.
func TestPastThreadInContainer(t *testing.T) {
	e, _ := bounded()
	e.AddProcess(stream.Process{PID: 57, HostPID: 5000})
	e.AddProcess(stream.Process{PID: 3, HostPID: 57})
	if th := e.lives.pastThread(event.ThreadKey{TID: 58, StartTime: 1}, 57); th.process.id.PID != 3 {
		t.Errorf("told of process %d, want 3", th.process.id.PID)
	}
	if th := e.lives.pastThread(event.ThreadKey{TID: 58, StartTime: 1}, 4242); th.process.id.PID != 4242 {
		t.Errorf("told of process %d, want 4242", th.process.id.PID)
	}
}

// A process whose id has been given to another one is not ended for it.
func TestProcessGoneReusedID(t *testing.T) {
	e, _ := bounded()
	e.AddProcess(stream.Process{PID: 9, StartTime: 200})
	e.ProcessGone(9, 100, 1)
	if e.tasks.processes[9] == nil {
		t.Error("the new process was ended")
	}
	e.ProcessGone(9, 200, 2)
	if e.tasks.processes[9] != nil {
		t.Error("the process is still there")
	}
}
