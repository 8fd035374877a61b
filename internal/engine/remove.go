// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Attaching says that sites are about to be attached: their markers are passed
// over until Attached says that they are, except in processes for which they are
// attached already. Attached must follow, whatever became of the attaching.
func (e *Engine) Attaching(sites []probe.Site) {
	never := gate{math.MaxInt64, math.MaxUint64}
	for i := range sites {
		s := e.sites[sites[i].ID]
		s.gate = never
		if s.gateAll == (gate{}) {
			s.gateAll = never
		}
	}
}

// RemoveSite forgets a site whose probes have been removed and whose markers have
// all been handled. Its number may be given to another site.
func (e *Engine) RemoveSite(id uint32) {
	s := e.sites[id]
	if s == nil {
		return
	}
	if s.until != 0 && s.until >= e.removal {
		e.closeRemoved(s.until)
	}
	for _, p := range e.processes {
		delete(p.gates, s)
	}
	e.sites[id] = nil
	e.free = append(e.free, id)
}

// RemoveProcess ends the tracing of a process that goes on: what it has open is
// closed. started is its Process.StartTime, 0 when that is not known.
func (e *Engine) RemoveProcess(pid int, started uint64, time int64) {
	p := e.processes[pid]
	if p == nil || started != 0 && p.StartTime != 0 && p.StartTime != started {
		return
	}
	e.closeProcess(p, time, stream.ReasonSessionEnd)
	e.endProcess(p, &stream.ProcessChange{Time: time, Removed: true})
}
