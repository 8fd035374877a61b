// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// keyedEnter judges an enter of a keyed pair: every value of the key is a lane of
// its own, and a scope may end on another thread than it began. The verdict's
// scope is the one that has the key open already.
func (j *judge) keyedEnter(th *thread, s *Site, v *keyValue) verdict {
	k := j.keys.find(th.process, s.Pair, v)
	if k == nil || !k.open {
		return verdict{act: actOpen}
	}
	sc := &j.scopes.open[k.slot]
	// With markers lost since, its exit may be among them.
	return verdict{act: actOpen, scope: sc, doubt: j.losses.soFar() > sc.keyed.lost}
}

// keyedExit judges an exit of a keyed pair. Any thread may have entered, also
// before the attach or in a gap.
func (j *judge) keyedExit(th *thread, s *Site, v *keyValue) verdict {
	k := j.keys.find(th.process, s.Pair, v)
	switch {
	case k != nil && k.open:
		return verdict{act: actClose, scope: &j.scopes.open[k.slot], doubt: k.outstanding > 0}
	case k != nil:
		return orphan(stream.OrphanKeyReused)
	case j.keys.overflow > 0:
		return verdict{act: actOverflow}
	case s.Pair.noEnter:
		return orphan(stream.OrphanEnterNotAttached)
	}
	gate := th.process.gate(s)
	ended := th.process.exits.knowsKey(endedKey{s.Pair, *v, gate.time})
	early := j.tasks.ranBefore(th.process, gate.boot)
	switch {
	case early && !ended:
		return orphan(stream.OrphanBeforeAttach)
	case j.losses.soFar() > 0:
		return orphan(stream.OrphanLost)
	case early:
		return orphan(stream.OrphanKeyReused)
	}
	return verdict{act: actBlame}
}

// keyedRepairer brings the open scopes of keyed pairs in line with what was
// judged.
type keyedRepairer struct {
	*state
	*books
	lane []byte // scratch
}

// enter acts upon an enter. If its key is already open, that scope is closed;
// nobody can say which of the two the next exit means.
func (r *keyedRepairer) enter(th *thread, s *Site, ev *event.Marker, value *keyValue, v verdict) {
	k := r.keys.find(th.process, s.Pair, value)
	if k == nil {
		r.open(th, s, ev, value, 0)
		return
	}
	outstanding := k.outstanding
	k.outstanding = 0 // it goes over to the new scope
	switch {
	case v.scope == nil:
		r.keys.drop(k)
		if !r.keys.overlaps[s.Pair] {
			outstanding = 0 // unless phases of one key are known to overlap, they were left
		}
	case v.doubt:
		r.close(v.scope, ending{time: ev.Time, why: stream.ReasonLost})
	default:
		outstanding++
		r.keys.noteReuse(s.Pair)
		r.close(v.scope, ending{time: ev.Time, why: stream.ReasonKeyReused, doubt: stream.DoubtKeyReused})
	}
	r.open(th, s, ev, value, outstanding)
}

func (r *keyedRepairer) open(th *thread, s *Site, ev *event.Marker, value *keyValue, outstanding uint32) {
	if r.keys.open >= maxKeyed {
		r.stats.TooManyKeyed++
		r.keys.overflow++
		return
	}
	st := r.stack(th, s, value)
	sc, ok := r.books.enter(th, st, s, ev, keyedScope{*value, r.losses.known()})
	if !ok {
		r.keys.overflow++
		st.Release()
		return
	}
	r.keys.use(sc, outstanding)
}

// exit acts upon an exit.
func (r *keyedRepairer) exit(th *thread, s *Site, ev *event.Marker, value *keyValue, v verdict) {
	switch v.act {
	case actClose:
		end := ending{time: ev.Time, marker: &s.Marker, record: ev, tells: r.read.attributes(s, ev)}
		if v.doubt {
			end.why, end.doubt = stream.ReasonKeyReused, stream.DoubtKeyReused
		}
		if th != v.scope.thread {
			end.by = th
		}
		th.process.exits.keyOver(endedKey{s.Pair, v.scope.keyed.value, ev.Time})
		r.close(v.scope, end)
	case actOverflow:
		r.keys.overflow--
	case actOrphan:
		r.orphan(th, s, ev, v.orphan)
		if v.orphan == stream.OrphanKeyReused {
			r.surplus(th, s, value)
		}
	case actBlame:
		st := r.stack(th, s, value)
		_, err := st.Exit(recorder.Token{})
		r.blame(th, s, ev, err, stream.RepairNothing)
		st.Release()
	}
}

// surplus notes an exit of a key that was used again: its phases overlap.
func (r *keyedRepairer) surplus(th *thread, s *Site, value *keyValue) {
	k := r.keys.find(th.process, s.Pair, value)
	if k == nil {
		return
	}
	r.keys.overlaps[s.Pair] = true
	if k.outstanding--; k.outstanding == 0 {
		r.keys.drop(k)
	}
}

// stack returns the stack of a key.
func (r *keyedRepairer) stack(th *thread, s *Site, value *keyValue) *recorder.Stack {
	r.lane = value.Append(append(append(r.lane[:0], s.Pair.ID...), '='))
	return r.scopes.batch.Stack(recorder.Key{
		SessionID: r.cfg.SessionID, Rank: th.process.id.Rank, ThreadID: th.id.TID, Lane: string(r.lane),
	})
}

// close ends a scope of a keyed pair.
func (r *keyedRepairer) close(sc *scope, end ending) {
	k, st := r.keys.of(sc), sc.stack
	r.books.close(sc, end)
	r.keys.closed(k)
	st.Release()
}

// closeAll closes the scopes of a process, nil for all of them, in the order of
// their enters, and forgets its keys.
func (r *keyedRepairer) closeAll(p *process, time int64, why stream.Reason) {
	r.closeEntered(p, math.MaxInt64, time, why)
	r.keys.forget(p)
}

// closeEntered closes those of them that were entered up to a time.
func (r *keyedRepairer) closeEntered(p *process, entered, time int64, why stream.Reason) {
	for _, slot := range r.keys.slots(p, entered, &r.scopes) {
		r.close(&r.scopes.open[slot], ending{time: time, why: why})
	}
}
