// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// kernel counts as the programs in bpf/ do. So nobody has to count by hand
// what a marker carries, and no scenario has what no kernel would send.
type kernel struct {
	tasks map[uint32]*task // by thread id
}

// task is what the programs keep of a thread.
type task struct {
	told  bool   // who the thread is: no marker arrives before that
	start uint64 // as last told
	seq   uint64
	prog  uint32
	lanes [probe.MaxLanes]struct{ depth, low int32 }
}

func (k *kernel) task(tid uint32) *task {
	if k.tasks[tid] == nil {
		k.tasks[tid] = new(task)
	}
	return k.tasks[tid]
}

// count fills in what the kernel counts, and brings its state forward.
// delivered: the event arrives.
func (k *kernel) count(t *testing.T, sites []*engine.Site, ev event.Event, delivered bool) {
	t.Helper()
	switch ev := ev.(type) {
	case *event.Marker:
		if int(ev.Site) >= len(sites) || sites[ev.Site].Effect != ev.Effect {
			t.Fatalf("%s: site %d is none, or another", eventText(t, ev), ev.Site)
		}
		if delivered && !k.task(ev.TID).told {
			t.Fatalf("%s: it cannot arrive before an event that tells of its thread", eventText(t, ev))
		}
		k.task(ev.TID).marker(sites[ev.Site], ev, delivered)
	case *event.Thread:
		if old := k.tasks[ev.TID]; old != nil && old.start != 0 && old.start != ev.Who.StartTime {
			delete(k.tasks, ev.TID) // the id is another thread's now
		}
		if delivered {
			k.task(ev.TID).told, k.task(ev.TID).start = true, ev.Who.StartTime
		}
	case *event.ThreadExit:
		k.end(ev)
	case *event.ProcessExit:
		k.end(&ev.ThreadExit)
	case *event.Exec:
		k.exec(ev)
	}
}

func (t *task) marker(s *engine.Site, ev *event.Marker, delivered bool) {
	ev.Seq, ev.Program = t.seq, t.prog
	t.seq++
	if ev.Effect == probe.Point || s.Pair.Keyed {
		ev.Lane, ev.Depth, ev.Low = probe.NoLane, 0, 0
		return
	}
	ev.Lane = s.Pair.Lane
	lane := &t.lanes[ev.Lane]
	ev.Low = lane.low
	if ev.Effect == probe.Enter {
		lane.depth++
	} else {
		lane.depth--
	}
	lane.low = min(lane.low, lane.depth)
	ev.Depth = lane.depth
	if delivered {
		lane.low = lane.depth
	}
}

func (k *kernel) end(ev *event.ThreadExit) {
	t := k.task(ev.TID)
	ev.Markers, ev.Program = t.seq, t.prog
	if t.start != 0 {
		ev.Who.StartTime = t.start
	}
	delete(k.tasks, ev.TID)
}

// exec: the thread goes on under the process's id, with the start time of the
// first thread. It has to be announced again.
func (k *kernel) exec(ev *event.Exec) {
	t := k.tasks[ev.FormerTID]
	if t == nil {
		return // it has hit no marker: the kernel keeps nothing of it
	}
	delete(k.tasks, ev.FormerTID)
	k.tasks[ev.TID] = t
	ev.FormerStart, ev.Markers, ev.Before = t.start, t.seq, t.prog
	t.told, t.start, t.prog = false, ev.Who.StartTime, uint32(ev.Time)
	ev.Program = t.prog
	clear(t.lanes[:])
}
