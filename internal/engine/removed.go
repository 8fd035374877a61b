// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"math"
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// Removing says that the probes of sites are about to be removed, at a time, ns
// CLOCK_MONOTONIC, that no event has reached: their markers from then on are
// passed over, and phases that were entered there and are still open are closed.
// RemoveSite follows.
func (e *Engine) Removing(sites []uint32, time int64) {
	for _, id := range sites {
		if s := e.sites[id]; s != nil && s.until == 0 {
			s.until = time
		}
	}
	e.removal = min(e.removal, time)
}

// noRemoval is Engine.removal when no probes are being removed.
const noRemoval = math.MaxInt64

// closeRemoved closes what was entered at sites whose probes were removed by a
// time. What lies above it on its stack is closed too; exits of it that still
// come are no defect.
func (e *Engine) closeRemoved(time int64) {
	for at := e.removal; at <= time; at = e.removal {
		e.removal = noRemoval
		for _, s := range e.sites {
			if s != nil && s.until > at {
				e.removal = min(e.removal, s.until)
			}
		}
		removed := func(sc *scope) bool { return sc.site != nil && sc.site.until == at }
		for _, th := range slices.SortedFunc(maps.Values(e.threads), func(a, b *thread) int { return a.HostTID - b.HostTID }) {
			for i := range th.lanes {
				e.closeFrom(th, &th.lanes[i], removed, at)
			}
		}
		e.closeKeyedIf(nil, removed, at, stream.ReasonProbesRemoved)
	}
}

// closeFrom closes, on each stack of a lane, the outermost scope that is meant and
// what lies above it.
func (e *Engine) closeFrom(th *thread, ln *lane, meant func(*scope) bool, time int64) {
	for _, st := range ln.stacks {
		for i := range st.Depth() {
			if !meant(e.at(st, i)) {
				continue
			}
			for j := st.Depth() - 1; j >= i; j-- {
				e.waitFor(ln, e.at(st, j))
			}
			e.closeAbove(st, i, time, th.reason(ln, stream.ReasonProbesRemoved))
			ln.over = 0
			e.settle(st, time)
			break
		}
	}
}
