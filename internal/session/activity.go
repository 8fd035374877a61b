// SPDX-License-Identifier: Apache-2.0

package session

import (
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// activity knows which phase is active in each lane of each thread, as of the
// last record that was written.
type activity struct {
	phases map[activeLane]recorder.Active
}

// activeLane names a stack: of a thread and a lane, or of a keyed phase.
type activeLane struct {
	tid   int // on the host
	rank  int32
	lane  string
	key   stream.Key
	keyed bool
	pid   int // on the host
}

func (a *activity) apply(b *stream.Boundary) {
	if a.phases == nil {
		a.phases = make(map[activeLane]recorder.Active)
	}
	at := activeLane{b.Thread.HostTID, b.Rank, b.Lane, b.Key, b.Keyed, b.Thread.Process.HostPID}
	path := b.Path
	scope := b.Scope
	if b.Action == recorder.Exit {
		path, scope = path.Parent(), b.Parent
	}
	if path == nil {
		delete(a.phases, at)
		return
	}
	a.phases[at] = recorder.Active{
		SessionID: b.SessionID, Rank: b.Rank, ThreadID: b.ThreadID, Lane: b.Lane,
		Scope: scope, Path: path, Depth: path.Depth(),
	}
}

// attribute says which phase was active in the processes that use the device:
// unique when all threads agree.
func (a *activity) attribute(uses func(pid int) bool) recorder.Attribution {
	var out recorder.Attribution
	for at, p := range a.phases {
		if uses(at.pid) {
			out.Candidates = append(out.Candidates, p)
		}
	}
	return recorder.AttributeAmong(recorder.Question{}, out.Candidates)
}
