// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// gap notes that markers of a thread were lost before ev.
func (e *Engine) gap(th *thread, ev *event.Marker) {
	th.gaps++
	if ev.Seq < th.nextSeq {
		e.stats.Backwards++ // the ring keeps a thread's order: cannot happen
		return
	}
	e.lose(th, ev.Seq-th.nextSeq, ev.Time)
}

// missedExec handles an exec of a thread whose record was lost: what the old
// program had open is over. The thread may have had another id there, so what
// it lost until now is left for Reconcile.
func (e *Engine) missedExec(th *thread, ev *event.Marker) {
	th.program = ev.Program
	th.gaps++
	for _, other := range sorted(th.process.threads) {
		// One that was told of since may be of the new program.
		if other != th && other.born <= th.time {
			e.endThread(other, ev.Time, stream.ReasonLost)
		}
	}
	e.closeThread(th, ev.Time, stream.ReasonLost)
	e.closeKeyedUntil(th.process, th.time, ev.Time, stream.ReasonLost)
	th.restart(ev.Time)
}

// restart makes a thread's lanes as they are when it runs a new program: the
// kernel begins to count anew.
func (th *thread) restart(time int64) {
	for i := range th.lanes {
		ln := &th.lanes[i]
		ln.depth, ln.time, ln.gaps, ln.unsure = 0, time, th.gaps, false
	}
}

// maxTold bounds the threads whose losses are kept apart. The kernel keeps
// fewer.
const maxTold = 1 << 16

func (e *Engine) lose(th *thread, n uint64, time int64) {
	e.stats.Lost += n
	if _, ok := e.told[th.key]; ok || len(e.told) < maxTold {
		e.told[th.key] += n
	} else {
		e.toldFull = true
	}
	e.out.Record(&stream.Loss{Time: time, Thread: &th.Thread, Count: n})
}

// misaligned reports whether something happened on a lane that nobody told.
func (th *thread) misaligned(ln *lane, ev *event.Marker) bool {
	if ev.Effect == probe.Enter {
		return ln.gaps != th.gaps || ev.Depth != ln.depth+1
	}
	return ln.gaps != th.gaps || ev.Depth != ln.depth-1
}

// realign brings a lane in line after a gap, from what the kernel counted
// while records were lost: scopes down to the lowest depth were closed, and
// the rest of the present depth was opened again. Opened scopes get a stand-in
// without a name, so that what follows nests where it belongs.
func (e *Engine) realign(th *thread, ln *lane, s *Site, ev *event.Marker) {
	ln.gaps = th.gaps
	before := int(ev.Depth) - 1
	if ev.Effect == probe.Exit {
		before = int(ev.Depth) + 1
	}
	closed, opened := int(ln.depth)-int(ev.Low), before-int(ev.Low)
	if e.countedBefore(th, ln) || opened < 0 {
		// The kernel counted while only some of the probes were in place.
		ln.unsure = ln.unsure || opened > 0
		closed, opened = math.MaxInt, -1
	}
	beyond := min(max(closed, 0), int(ln.over))
	ln.over -= uint32(beyond)
	for closed -= beyond; closed > 0; closed-- {
		sc := e.newest(ln)
		if sc == nil || sc.depth <= ev.Low && opened >= 0 {
			break
		}
		st := sc.stack
		e.waitFor(ln, sc)
		e.close(sc, ev.Time, nil, stream.ReasonLost, nil)
		e.settle(st, ev.Time)
	}
	for depth := ev.Low + 1; opened > 0; opened-- {
		if ln.over > 0 || !e.openLost(th, ln, s, ev, depth) {
			ln.over += uint32(opened)
			return
		}
		depth++
	}
}

// openLost opens a stand-in for a scope whose enter was lost; depth is what the
// kernel counted then.
func (e *Engine) openLost(th *thread, ln *lane, s *Site, ev *event.Marker, depth int32) bool {
	st := e.stack(th, ln, s.Pair)
	token, rb, err := st.Enter(th.Name, nameLost, nil)
	if err != nil {
		e.refuse(err)
		return false
	}
	sc := e.newScope(token, st, th, ev)
	sc.depth = depth
	e.emitEnter(&rb, sc, nil, stream.ReasonLost, ev)
	return true
}

// Attached says that sites were attached, for one process or for all (pid 0),
// all of them by a time (ns, CLOCK_MONOTONIC; boot is the same on
// CLOCK_BOOTTIME). Markers of theirs from before are passed over: while some of
// the sites were attached and others not, their enters and exits did not go
// together.
func (e *Engine) Attached(pid int, sites []probe.Site, time int64, boot uint64) {
	p := e.processes[pid]
	last := &e.lastGate
	if p != nil {
		last = &p.lastGate
	}
	*last = gate{time, boot}
	for i := range sites {
		s := e.sites[sites[i].ID]
		if time > s.gate.time || s.gate.time == math.MaxInt64 {
			s.gate = *last
		}
		if p != nil {
			if p.gates == nil {
				p.gates = make(map[*Site]gate)
			}
			p.gates[s] = *last
		} else if s.gateAll.time == 0 || s.gateAll.time == math.MaxInt64 {
			s.gateAll = *last
		}
	}
}

// Detaching says that sites are about to be detached: markers from now on, ns
// CLOCK_MONOTONIC, are passed over, for the same reason as in Attached.
func (e *Engine) Detaching(time int64) { e.until = time }

// outside reports whether a marker was hit while probes were being attached or
// detached.
func (e *Engine) outside(th *thread, s *Site, ev *event.Marker) bool {
	stays := ev.Time < e.until && (s.until == 0 || ev.Time < s.until)
	if stays && (ev.Time >= s.gate.time || ev.Time >= th.process.gate(s).time) {
		return false
	}
	e.stats.Outside++
	return true
}

// gate is when a site was attached for the process. Exits of threads that are
// older may belong to enters nobody recorded.
func (p *tracee) gate(s *Site) gate {
	if t, ok := p.gates[s]; ok {
		return t
	}
	return s.gateAll
}

// gate is when sites were attached, on both clocks in ns.
type gate struct {
	time int64
	boot uint64
}

// countedBefore reports whether what the kernel counted for a lane since the
// last delivered marker reaches back to before sites were attached, any of them.
func (e *Engine) countedBefore(th *thread, ln *lane) bool {
	if ln.time == 0 {
		return th.key.StartTime < max(th.process.lastGate.boot, e.lastGate.boot)
	}
	return ln.time < max(th.process.lastGate.time, e.lastGate.time)
}

// Reconcile takes the kernel's own count of lost markers by thread: what no
// later record of the thread showed is told now.
func (e *Engine) Reconcile(lost map[event.ThreadKey]event.ThreadLoss, time int64) {
	keys := slices.SortedFunc(maps.Keys(lost), func(a, b event.ThreadKey) int {
		return cmp.Or(cmp.Compare(a.TID, b.TID), cmp.Compare(a.StartTime, b.StartTime))
	})
	for _, k := range keys {
		l := lost[k]
		told, ok := e.told[k]
		if l.Count <= told || !ok && e.toldFull {
			continue
		}
		th := e.threads[k.TID]
		if th == nil || th.key != k {
			th = e.pastThread(k, int(l.PID))
		}
		th.gaps++
		e.lose(th, l.Count-told, time)
	}
}

// pastThread stands for a thread that has ended, or that lost every record.
func (e *Engine) pastThread(k event.ThreadKey, hostPID int) *thread {
	p := &tracee{Process: stream.Process{PID: hostPID, HostPID: hostPID}}
	for _, known := range e.processes { // by their ids here, which may be others
		if known.HostPID == hostPID {
			p = known
		}
	}
	return &thread{
		key: k, process: p,
		Thread: stream.Thread{TID: int(k.TID), HostTID: int(k.TID), Process: &p.Process},
	}
}
