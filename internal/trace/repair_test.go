// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/loader"
)

// A library is attached to while a phase of it is open inside a phase of the
// program: the exit of the one whose enter was passed over is no violation.
func TestAttachedInsidePhase(t *testing.T) {
	e, m := bounded()
	task := m.newTask(0)
	m.marker(task, enterMarker, 1, "dlopen", -1)
	m.marker(task, 2*pairWork, 0, "", -1) // of the library, before all its sites are attached
	e.Attached(0, []loader.Site{{ID: 2 * pairWork}, {ID: 2*pairWork + 1}}, m.now+1, 0)
	m.marker(task, 2*pairWork+1, 0, "", -1)
	m.now++
	e.sites[2*pairWork+1].gateAll = gate{time: m.now}
	e.sites[2*pairWork+1].gate = gate{time: m.now}
	m.marker(task, 2*pairWork+1, 0, "", -1)
	m.marker(task, exitMarker, 1, "", -1)
	if e.defects.total != 0 || e.stats.orphans != 1 || e.stats.boundaries != 4 {
		t.Errorf("%d violations, %d orphans, %d boundaries", e.defects.total, e.stats.orphans, e.stats.boundaries)
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
	if e.defects.total != 0 || e.stats.boundaries != 2 || e.stats.outside != 2 {
		t.Errorf("%d violations, %d boundaries, %d passed over", e.defects.total, e.stats.boundaries, e.stats.outside)
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
	if e.defects.total != 1 || e.stats.late != inner || e.late != 0 {
		t.Errorf("%d violations, %d late, %d waited for; want one, all the others and none", e.defects.total, e.stats.late, e.late)
	}
}
