// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"math"
	"slices"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// noRemoval is sites.removal when no probes are being removed.
const noRemoval = math.MaxInt64

// Removing says that the probes of sites are about to be removed while others
// stay: their markers from a time on (ns, CLOCK_MONOTONIC), which no event has
// reached yet, are ignored, and scopes that were entered there and are still open
// are closed. RemoveSite follows.
func (e *Engine) Removing(sites []uint32, time int64) {
	for _, id := range sites {
		if s := e.sites.list[id]; s != nil && s.until == 0 {
			s.until = time
			e.sites.removal = min(e.sites.removal, time)
		}
	}
}

// closeRemoved closes what was entered at sites whose probes were removed by a
// time. What lies above it on its stack is closed too; exits of it that still
// come are no defect.
func (m *markers) closeRemoved(time int64) {
	for at := m.sites.removal; at <= time; at = m.sites.removal {
		m.sites.removal = noRemoval
		for _, s := range m.sites.list {
			if s != nil && s.until > at {
				m.sites.removal = min(m.sites.removal, s.until)
			}
		}
		removed := func(sc *scope) bool { return sc.site != nil && sc.site.until == at }
		for _, th := range slices.SortedFunc(maps.Values(m.tasks.threads), byHostTID) {
			for i := range th.lanes {
				m.repair.closeFrom(th, &th.lanes[i], removed, at)
			}
		}
		for _, slot := range m.keys.slots(nil, math.MaxInt64, &m.scopes) {
			if sc := &m.scopes.open[slot]; removed(sc) {
				m.keyed.close(sc, ending{time: at, why: stream.ReasonProbesRemoved})
			}
		}
	}
}

// closeFrom closes, on each stack of a lane, the outermost scope that is meant and
// what lies above it.
func (r *repairer) closeFrom(th *thread, ln *lane, meant func(*scope) bool, time int64) {
	for _, st := range ln.stacks {
		for i := range st.Depth() {
			if !meant(r.scopes.at(st, i)) {
				continue
			}
			for j := i; j < st.Depth(); j++ {
				r.expect(ln, r.scopes.at(st, j))
			}
			r.leave(th, ln, st, i, time, stream.ReasonProbesRemoved)
			r.settle(ln, st, time)
			break
		}
	}
}

// leave closes the scopes of a stack from the top down to place i: the program has
// left them, or will exit them later.
func (r *repairer) leave(th *thread, ln *lane, st *recorder.Stack, i int, time int64, why stream.Reason) {
	if n := st.Depth() - i + int(ln.overflow); ln.gaps == th.gaps {
		ln.count.left(n)
	} else {
		ln.count.depth -= int32(n) // their exits are lost; realign notices if not
	}
	r.closeAbove(st, i, time, th.ending(ln, why))
	ln.overflow = 0
}
