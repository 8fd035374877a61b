// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// gap notes that markers of a thread were lost before ev.
func (e *Engine) gap(th *thread, ev *loader.Event) {
	if ev.Seq < th.nextSeq {
		e.stats.strangers++ // the ring keeps a thread's order: cannot happen
		return
	}
	th.gaps++
	e.lose(th, ev.Seq-th.nextSeq, ev.Time)
}

func (e *Engine) lose(th *thread, n uint64, time int64) {
	th.lost += n
	e.stats.lost += n
	e.out.loss(&Loss{Time: time, Thread: &th.Thread, Count: n})
}

// realign brings a lane in line after a gap, from what the kernel counted
// while records were lost: scopes down to the lowest depth were closed, and
// the rest of the present depth was opened again. Opened scopes get a stand-in
// without a name, so that what follows nests where it belongs.
func (e *Engine) realign(th *thread, ln *lane, s *site, ev *loader.Event) {
	ln.gaps = th.gaps
	before := ev.Depth - 1
	if ev.Role == loader.Exit {
		before = ev.Depth + 1
	}
	st := e.stack(th, ln, s.pair)
	closed := int(ln.depth - ev.Low)
	e.closeAbove(st, max(st.Depth()-closed, 0), ev.Time, ReasonLost)
	for range before - ev.Low {
		if !e.openLost(th, st, ev) {
			ln.refused++
		}
	}
}

func (e *Engine) openLost(th *thread, st *recorder.Stack, ev *loader.Event) bool {
	token, rb, err := st.Enter(th.Name, nameLost, nil)
	if err != nil {
		e.refuse(err)
		return false
	}
	sc := e.newScope(token, st, th, ev)
	e.emitEnter(&rb, sc, nil, ReasonLost, ev)
	return true
}

// Reconcile takes the kernel's own count of lost markers by thread: what no
// later record of the thread showed is told now.
func (e *Engine) Reconcile(lost map[loader.ThreadKey]uint64, time int64) {
	for _, th := range e.threads {
		if n := lost[th.key]; n > th.lost {
			e.lose(th, n-th.lost, time)
		}
	}
}
