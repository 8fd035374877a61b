// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// reasons returns how many orphans of each reason the figures have counted.
func reasons(e *Engine) map[stream.OrphanReason]uint64 {
	out := make(map[stream.OrphanReason]uint64)
	for _, o := range snapshot(e).OrphanReasons {
		out[o.Reason] = o.Count
	}
	return out
}

// wantOrphans holds the orphans and the violations against what is wanted.
func wantOrphans(t *testing.T, e *Engine, want map[stream.OrphanReason]uint64, violations uint64) {
	t.Helper()
	if diff := cmp.Diff(want, reasons(e)); diff != "" {
		t.Errorf("orphans (-want +got):\n%s", diff)
	}
	if e.defects.total != violations || e.stats.Internal() != 0 {
		t.Errorf("%d violations, want %d; %d records mishandled", e.defects.total, violations, e.stats.Internal())
	}
}

// earlier makes all sites attached after the threads that there are have begun.
func earlier(e *Engine) {
	for _, s := range e.sites.list {
		s.gate, s.gateAll = gate{time: 1, boot: 1 << 40}, gate{time: 1, boot: 1 << 40}
	}
}

// What was seen is reported as what it was, on old threads and on new ones.
func TestOrphanReasons(t *testing.T) {
	type counts = map[stream.OrphanReason]uint64
	for _, c := range []struct {
		name       string
		run        func(e *Engine, m *machine, one, two *task)
		want       counts
		violations uint64
		old        counts // on threads older than the attach, where it is not the same: no violation
	}{
		{"a repaired scope exits on another thread", func(_ *Engine, m *machine, one, two *task) {
			m.marker(one, enterMarker, 1, "a", -1)
			m.marker(one, enterMarker, 2, "b", -1)
			m.marker(one, exitMarker, 1, "", -1)
			m.threadExit(one)
			m.marker(two, exitMarker, 2, "", -1)
		}, counts{stream.OrphanRepaired: 1}, 1, nil},
		{"a scope of a thread that has ended exits on another", func(_ *Engine, m *machine, one, two *task) {
			m.marker(one, enterMarker, 1, "a", -1)
			m.threadExit(one)
			m.marker(two, exitMarker, 1, "", -1)
		}, counts{}, 1, nil},
		{"a scope exits twice", func(_ *Engine, m *machine, one, two *task) {
			m.marker(one, enterMarker, 1, "a", -1)
			m.marker(one, exitMarker, 1, "", -1)
			m.marker(one, exitMarker, 1, "", -1)
			m.marker(two, exitMarker, 1, "", -1)
		}, counts{}, 2, nil},
		{"a scope was abandoned", func(_ *Engine, m *machine, one, _ *task) {
			m.marker(one, 2*pairQuery, 0, "", -1)
			m.marker(one, enterMarker, 1, "a", -1)
			m.marker(one, 2*pairQuery, 0, "", -1)
			m.marker(one, exitMarker, 1, "", -1)
		}, counts{stream.OrphanRepaired: 1}, 0, nil},
		{"entered while nobody traced", func(_ *Engine, m *machine, one, _ *task) {
			m.marker(one, exitMarker, 0, "", -1)
		}, counts{stream.OrphanUntraced: 1}, 0, nil},
		{"a token that was never seen", func(e *Engine, m *machine, one, _ *task) {
			m.marker(one, enterMarker, 1, "a", -1)
			m.marker(one, exitMarker, 1, "", -1)
			m.marker(one, exitMarker, 7, "", -1)
		}, counts{}, 1, counts{stream.OrphanBeforeAttach: 1}},
		{"no enter is attached", func(e *Engine, m *machine, one, two *task) {
			e.EntersAttached(e.sites.list[enterMarker].Pair, false)
			e.EntersAttached(e.sites.list[2*pairWork].Pair, false)
			e.EntersAttached(e.sites.list[2*pairParcel].Pair, false)
			m.marker(one, exitMarker, 7, "", -1)
			m.marker(one, exitMarker, 0, "", -1)
			m.marker(two, 2*pairOther, 1, "other", -1)
			m.marker(two, 2*pairWork+1, 0, "", -1)
			m.marker(two, 2*pairParcel+1, 3, "", -1)
			m.marker(two, 2*pairOther+1, 1, "", -1)
		}, counts{stream.OrphanEnterNotAttached: 4}, 0, nil},
		{"a token comes again once sites are attached anew", func(e *Engine, m *machine, one, _ *task) {
			m.marker(one, enterMarker, 1, "a", -1)
			m.marker(one, exitMarker, 1, "", -1)
			e.Attached(0, []probe.Site{{ID: exitMarker}}, m.now+1, 1<<40)
			e.sites.list[exitMarker].gateAll = e.sites.last
			m.now++
			m.marker(one, exitMarker, 1, "", -1)
		}, counts{stream.OrphanBeforeAttach: 1}, 0, nil},
		{"a key exits twice", func(_ *Engine, m *machine, one, two *task) {
			m.marker(one, 2*pairParcel, 5, "", -1)
			m.marker(two, 2*pairParcel+1, 5, "", -1)
			m.marker(one, 2*pairParcel+1, 5, "", -1)
		}, counts{}, 1, counts{stream.OrphanKeyReused: 1}},
	} {
		for _, old := range []bool{false, true} {
			name := c.name + ", on new threads"
			if old {
				name = c.name + ", on threads older than the attach"
			}
			t.Run(name, func(t *testing.T) {
				e, m := bounded()
				if old {
					earlier(e)
				}
				started := uint64(1 << 40)
				if old {
					started = 1
				}
				e.AddProcess(stream.Process{PID: 1, HostPID: 1, StartTime: started})
				one, two := m.newTask(1), m.newTask(1)
				c.run(e, m, one, two)
				want, violations := c.want, c.violations
				if old && c.old != nil {
					want, violations = c.old, 0
				}
				wantOrphans(t, e, want, violations)
			})
		}
	}
}

// A scope that ends on another thread than it began keeps the memory of its
// process; only the threads' own counters are unknown.
func TestKeyedMemoryOverThreads(t *testing.T) {
	k, e, m := kept()
	e.AddProcess(stream.Process{PID: 1, HostPID: 1})
	one, two := m.newTask(1), m.newTask(1)
	pages := uint32(100)
	m.prepare = func() { m.ev.ResidentPages, m.ev.MinorFaults = pages, 50 }
	m.marker(one, 2*pairParcel, 5, "", -1)
	pages = 103
	m.marker(two, 2*pairParcel+1, 5, "", -1)
	var last *stream.Boundary
	for _, r := range k.records {
		if b, ok := r.(*stream.Boundary); ok {
			last = b
		}
	}
	want := stream.Resident{Bytes: 103 * 4096, Change: 3 * 4096, Known: true, ChangeKnown: true}
	if last == nil || last.Resident != want || last.HasCounters || last.ExitThread == nil || last.ExitThread.HostTID != int(two.tid) {
		t.Errorf("the exit is %+v, want memory %+v, no counters, and thread %d", last, want, two.tid)
	}
}
