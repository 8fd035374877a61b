// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

// keyedMarker handles a marker of a keyed pair: every value of the key is a
// lane of its own, and a scope may end on another thread than it began.
func (e *Engine) keyedMarker(th *thread, s *Site, ev *event.Marker) {
	if s.Key == None {
		e.stats.Refused++
		return
	}
	if ev.Values[s.Key].Unreadable {
		e.stats.UnreadableAttributes++
		return
	}
	k := keyedScope{th.process, s.Pair, ev.Values[s.Key].Int}
	slot, open := e.keyed[k]
	if ev.Effect == probe.Enter {
		if open {
			why := stream.ReasonAbandoned
			if e.lostSoFar() > e.scopes[slot].lost {
				why = stream.ReasonLost // its exit may be among them
			}
			e.closeKeyed(k, slot, nil, nil, ev.Time, why, nil)
		}
		e.openKeyed(th, s, ev, k)
		return
	}
	if open {
		e.closeKeyed(k, slot, th, &s.Marker, ev.Time, stream.ReasonNone, ev)
		return
	}
	// Any thread may have entered, also before the attach or in a gap.
	switch {
	case e.keyedOver > 0:
		e.keyedOver-- // its enter was refused and counted
	case th.process.started(th.process.gate(s).boot):
		e.orphan(th, s, ev, "before_attach")
	case e.lostSoFar() > 0:
		e.orphan(th, s, ev, "records_lost")
	default:
		st := e.batch.Stack(e.keyedStack(th, s, k))
		_, err := st.Exit(recorder.Token{})
		e.violation(th, s, ev, err, "nothing had to be done")
		st.Release()
	}
}

// started reports whether the process ran before a boot time in ns.
func (p *tracee) started(since uint64) bool {
	const ticksPerSecond = 100 // USER_HZ of /proc/PID/stat on every architecture here
	return p.StartTime == 0 || p.StartTime*(1e9/ticksPerSecond) < since
}

func (e *Engine) keyedStack(th *thread, s *Site, k keyedScope) recorder.Key {
	return recorder.Key{
		SessionID: e.cfg.SessionID, Rank: th.process.Rank, ThreadID: th.TID,
		Lane: s.Pair.ID + "=" + strconv.FormatUint(k.value, 10),
	}
}

// maxKeyed bounds the keyed scopes open at once, so that keys whose exits never
// come leave room for the other scopes.
const maxKeyed = 1 << 14

func (e *Engine) openKeyed(th *thread, s *Site, ev *event.Marker, k keyedScope) {
	if len(e.keyed) >= maxKeyed {
		e.stats.TooManyKeyed++
		e.keyedOver++
		return
	}
	st := e.batch.Stack(e.keyedStack(th, s, k))
	sc, ok := e.open(th, st, s, ev)
	if !ok {
		e.keyedOver++
		st.Release()
		return
	}
	sc.key, sc.lost = k, e.kernel
	e.keyed[k] = sc.token.Slot()
}

// lostSoFar is how many markers of any thread are known to be lost. A record of
// one thread can tell that something came before it on another whose own loss
// no record shows yet, so the kernel is asked.
func (e *Engine) lostSoFar() uint64 {
	e.ask()
	e.kernel = max(e.kernel, e.stats.Lost)
	return e.kernel
}

// withoutGap reports whether markers were lost of which no record will tell:
// then no exit proves that its enter was never hit.
func (e *Engine) withoutGap() bool {
	e.ask()
	return e.stateless > 0
}

func (e *Engine) ask() {
	if !e.asked && e.cfg.Lost != nil {
		e.kernel, e.stateless = e.cfg.Lost()
		e.asked = true
	}
}

// closeAllKeyed closes the keyed scopes of a process, nil for all of them, in
// the order of their enters.
func (e *Engine) closeAllKeyed(p *tracee, time int64, why stream.Reason) {
	e.closeKeyedUntil(p, math.MaxInt64, time, why)
}

// closeKeyedUntil closes those of them that were entered up to a time.
func (e *Engine) closeKeyedUntil(p *tracee, entered, time int64, why stream.Reason) {
	e.closeKeyedIf(p, func(sc *scope) bool { return sc.start <= entered }, time, why)
}

// closeKeyedIf closes those of them that are meant.
func (e *Engine) closeKeyedIf(p *tracee, meant func(*scope) bool, time int64, why stream.Reason) {
	var open []keyedScope
	for k, slot := range e.keyed {
		if (p == nil || k.process == p) && meant(&e.scopes[slot]) {
			open = append(open, k)
		}
	}
	slices.SortFunc(open, func(a, b keyedScope) int {
		return cmp.Compare(e.scopes[e.keyed[a]].token.Scope(), e.scopes[e.keyed[b]].token.Scope())
	})
	for _, k := range open {
		e.closeKeyed(k, e.keyed[k], nil, nil, time, why, nil)
	}
}

// closeKeyed ends a keyed scope; th is the thread that does it, if one does.
func (e *Engine) closeKeyed(k keyedScope, slot uint32, th *thread, m *stream.Marker, time int64, why stream.Reason, ev *event.Marker) {
	sc := &e.scopes[slot]
	st := sc.stack
	delete(e.keyed, k)
	if th != nil && th != sc.thread {
		e.exitThread = &th.Thread
		ev = nil // the counters are another thread's
	}
	e.close(sc, time, m, why, ev)
	e.exitThread = nil
	st.Release()
}
