// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

// naive is what DESIGN.md says of repair, written down as plainly as can be,
// for programs that do everything wrong and of which nothing is lost.
type naive struct {
	policy     Policy
	threads    []*naiveThread
	closed     []naiveScope // with tokens, that were closed for them
	repaired   uint64       // exits of such, and of late
	said       []string
	violations map[recorder.Kind]uint64
}

type naiveThread struct {
	*task
	lanes [2][]*naiveScope
	late  [2][]naiveScope // without tokens, that were closed for them
}

type naiveScope struct {
	pair      int
	token     uint64
	path      string
	start     int64
	elsewhere bool // closed by another thread while others lay above it
}

// remember notes a scope that is closed for it.
func (n *naive) remember(th *naiveThread, lane int, s *naiveScope) {
	if slices.Contains(tokenless, s.pair) {
		th.late[lane] = append(th.late[lane], *s)
	} else {
		n.closed = append(n.closed, *s)
	}
}

// rememberNamed notes those of a lane from a place up that have tokens.
func (n *naive) rememberNamed(th *naiveThread, lane, from int) {
	for _, s := range th.lanes[lane][from:] {
		if !slices.Contains(tokenless, s.pair) {
			n.closed = append(n.closed, *s)
		}
	}
}

var tokenless = []int{pairWork, pairNamed, pairQuery, pairPlan}

func laneOf(pair int) int {
	if pair == pairOther {
		return 1
	}
	return 0
}

// pop closes the scopes of a lane from the top down to a place.
func (n *naive) pop(th *naiveThread, lane, to int, now int64, why stream.Reason) {
	for l := &th.lanes[lane]; len(*l) > to; *l = (*l)[:len(*l)-1] {
		s := (*l)[len(*l)-1]
		n.said = append(n.said, fmt.Sprintf("%d exit %s after %d %s", th.tid, s.path, now-s.start, why))
	}
}

// close ends the innermost scope, and those that another thread closed before.
func (n *naive) close(th *naiveThread, lane int, now int64, why stream.Reason) {
	n.pop(th, lane, len(th.lanes[lane])-1, now, why)
	for l := &th.lanes[lane]; len(*l) > 0 && (*l)[len(*l)-1].elsewhere; {
		n.pop(th, lane, len(*l)-1, now, stream.ReasonUnwound)
	}
}

func (n *naive) enter(th *naiveThread, pair int, token uint64, name string, now int64) {
	lane := laneOf(pair)
	for i, s := range th.lanes[lane] {
		if s.pair == pair && (pair == pairQuery || pair == pairPlan) || pair == pairQuery && s.pair == pairPlan {
			n.rememberNamed(th, lane, i)
			n.pop(th, lane, i, now, stream.ReasonAbandoned)
			break
		}
	}
	if slices.Contains(tokenless, pair) {
		th.late[lane] = slices.DeleteFunc(th.late[lane], func(s naiveScope) bool { return s.pair == pair })
		token = 0
	}
	path := name
	if l := th.lanes[lane]; len(l) > 0 {
		path = l[len(l)-1].path + " / " + name
	}
	th.lanes[lane] = append(th.lanes[lane], &naiveScope{pair: pair, token: token, path: path, start: now})
	n.said = append(n.said, fmt.Sprintf("%d enter %s", th.tid, path))
}

func (n *naive) exit(th *naiveThread, pair int, token uint64, now int64) {
	lane := laneOf(pair)
	same := func(s naiveScope) bool { return s.pair == pair && s.token == token }
	if slices.Contains(tokenless, pair) {
		same = func(s naiveScope) bool { return s.pair == pair }
	}
	for i := len(th.lanes[lane]) - 1; i >= 0; i-- {
		if s := th.lanes[lane][i]; same(*s) {
			n.exitOwn(th, lane, i, now)
			return
		}
	}
	for _, owner := range n.threads {
		for i, s := range owner.lanes[lane] {
			if owner != th && !slices.Contains(tokenless, pair) && same(*s) {
				n.exitOther(owner, lane, i, now)
				return
			}
		}
	}
	if n.take(&th.late[lane], same) || !slices.Contains(tokenless, pair) && n.take(&n.closed, same) {
		return
	}
	if len(th.lanes[lane]) == 0 {
		n.violations[recorder.NoActivePhase]++
	} else {
		n.violations[recorder.UnknownScope]++
	}
}

// take counts the exit of a scope that was closed for it.
func (n *naive) take(closed *[]naiveScope, same func(naiveScope) bool) bool {
	i := slices.IndexFunc(*closed, same)
	if i < 0 {
		return false
	}
	*closed = slices.Delete(*closed, i, i+1)
	n.repaired++
	return true
}

func (n *naive) exitOwn(th *naiveThread, lane, at int, now int64) {
	if top := len(th.lanes[lane]) - 1; at != top {
		n.violations[recorder.NotLIFO]++
		if n.policy == PolicyReject {
			return
		}
		for i := top; i > at; i-- {
			n.remember(th, lane, th.lanes[lane][i])
		}
		n.pop(th, lane, at+1, now, stream.ReasonUnwound)
	}
	n.close(th, lane, now, stream.ReasonNone)
}

func (n *naive) exitOther(owner *naiveThread, lane, at int, now int64) {
	n.violations[recorder.WrongThread]++
	switch {
	case n.policy == PolicyReject:
	case at == len(owner.lanes[lane])-1:
		n.remember(owner, lane, owner.lanes[lane][at])
		n.close(owner, lane, now, stream.ReasonUnwound)
	default:
		owner.lanes[lane][at].elsewhere = true
	}
}

// recording is an output that writes down what it gets, as naive does.
type recording struct {
	said []string
}

func (r *recording) Record(record stream.Record) {
	b, ok := record.(*stream.Boundary)
	if !ok {
		return
	}
	if b.Action == recorder.Enter {
		r.said = append(r.said, fmt.Sprintf("%d enter %s", b.Thread.HostTID, b.Path))
		return
	}
	r.said = append(r.said, fmt.Sprintf("%d exit %s after %d %s", b.Thread.HostTID, b.Path, b.Duration, b.Synthetic))
}

// miscounted returns what does not go together of the kernel's count of a lane and
// the scopes that are open there, after a record of it.
func miscounted(e *Engine, th *thread, lane int) string {
	ln := th.lane(uint8(lane))
	sc := e.scopes.newest(ln)
	if sc == nil || ln.count.level(sc)+ln.count.due(sc)+int32(ln.overflow) == ln.count.depth {
		return ""
	}
	return fmt.Sprintf("the kernel counts %d at level %d, %d due, %d in overflow: %+v", ln.count.depth, ln.count.level(sc), ln.count.due(sc), ln.overflow, ln.count)
}

// compareWithModel runs a program that does everything wrong through both.
func compareWithModel(t testing.TB, c chooser, policy Policy) uint64 {
	out := &recording{}
	e := New(Config{SessionID: "s", PageSize: 4096, Policy: policy}, out)
	addSites(e)
	m := newMachine(e)
	n := &naive{policy: policy, violations: make(map[recorder.Kind]uint64)}
	e.AddProcess(stream.Process{PID: 1, HostPID: 1})
	token := uint64(0)
	for c.more() {
		if len(n.threads) < 3 {
			n.threads = append(n.threads, &naiveThread{task: m.newTask(1)})
		}
		i := c.upTo(len(n.threads))
		th := n.threads[i]
		pair := c.upTo(pairOther + 1)
		deep := len(th.lanes[laneOf(pair)]) > 4
		switch k := c.upTo(100); {
		case k < 45 && !deep:
			token++
			name := nameOf(2 * pair)
			if e.sites.list[2*pair].Name != None {
				name = fmt.Sprint("n", token%2)
			}
			m.marker(th.task, 2*pair, token, name, -1)
			n.enter(th, pair, token, name, m.now)
		case k < 90:
			value := max(token, 8) - uint64(c.upTo(8)) // of any thread, open or not
			if l := th.lanes[laneOf(pair)]; len(l) > 0 && k < 70 {
				pair, value = l[len(l)-1].pair, l[len(l)-1].token
			}
			m.marker(th.task, 2*pair+1, value, "", -1)
			n.exit(th, pair, value, m.now)
		case k < 93:
			m.marker(th.task, siteStatus, 0, "", -1)
			if at := slices.IndexFunc(th.lanes[0], func(s *naiveScope) bool { return s.pair == pairPlan }); at >= 0 {
				n.rememberNamed(th, 0, at)
				n.pop(th, 0, at, m.now, stream.ReasonAbandoned)
			}
		case k == 93 && th.marked:
			m.threadExit(th.task)
			n.pop(th, 0, 0, m.now, stream.ReasonThreadExit)
			n.pop(th, 1, 0, m.now, stream.ReasonThreadExit)
			n.threads = slices.Delete(n.threads, i, i+1)
			m.freed = append(m.freed, th.tid)
		}
		if known := e.tasks.threads[th.tid]; known != nil {
			for lane := range 2 {
				if err := miscounted(e, known, lane); err != "" {
					t.Fatalf("at %d: %s", m.now, err)
				}
			}
		}
		if !slices.Equal(out.said, n.said) {
			t.Fatalf("at %d, %+v:\nengine %q\nmodel  %q", m.now, m.ev, out.said, n.said)
		}
		out.said, n.said = out.said[:0], n.said[:0]
	}
	e.Begin()
	for kind, want := range n.violations {
		if got := e.scopes.batch.Stats().Violations[kind]; got != want {
			t.Fatalf("%d violations %v, the model has %d", got, kind, want)
		}
	}
	e.End()
	if e.stats.Orphans != n.repaired {
		t.Fatalf("%d orphans, the model has %d exits of scopes closed for them", e.stats.Orphans, n.repaired)
	}
	if n := e.stats.Internal(); n > 0 {
		t.Fatalf("%d records mishandled", n)
	}
	return m.produced
}

// Programs that break every rule, against a model of the repair.
func TestEngineAgainstModel(t *testing.T) {
	for name, policy := range map[string]Policy{"unwind": PolicyUnwind, "reject": PolicyReject} {
		t.Run(name, func(t *testing.T) {
			t.Logf("%d markers", compareWithModel(t, newSeeded(7, *modelEvents), policy))
		})
	}
}

func FuzzEngineAgainstModel(f *testing.F) {
	f.Add([]byte("in and out and out again"), false)
	f.Fuzz(func(t *testing.T, script []byte, reject bool) {
		policy := PolicyUnwind
		if reject {
			policy = PolicyReject
		}
		compareWithModel(t, &scripted{script}, policy)
	})
}
