// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

// program is a simulated program that nests properly and knows what it did.
// Records of it are lost at random. Whatever the engine tells is held against
// what really happened, while it happens.
type program struct {
	t       testing.TB
	choose  chooser
	m       *machine
	e       *Engine
	threads []*actor
	burst   int // records that are lost from now on
	lossy   int // 1 in lossy records begins a burst, 0: none
	token   uint64
	parcels map[uint64]*real
	keys    []uint64

	byEnter map[int64]*real  // delivered enters, by time
	open    map[uint64]*real // by the engine's scope
	now     moment
	exact   uint64 // phases found exactly right
	losses  uint64
	byPID   map[int]uint64
}

// actor is a thread of the program.
type actor struct {
	*task
	lanes [2][]*real
	seen  uint64 // of its markers, those up to the last delivered one
}

// real is a phase as it really was.
type real struct {
	kind      int
	name      string
	token     uint64
	enter     int64
	delivered bool // its enter was
	inherited bool // a copy of the parent process's
	path      string
	exited    bool // its exit came, and was lost if not delivered
	exitGone  bool
	owner     *actor
	loose     bool // any synthetic end will do
}

// moment is what the program does now, and what must come out of it.
type moment struct {
	actor   *actor
	phase   *real
	effect  probe.Effect
	orphan  bool
	reasons []stream.Reason // of scopes that end without a marker
	gap     uint64
	outputs int
}

func newProgram(t testing.TB, choose chooser, lossy int) *program {
	p := &program{
		t: t, choose: choose, lossy: lossy, parcels: make(map[uint64]*real),
		byEnter: make(map[int64]*real), open: make(map[uint64]*real), byPID: make(map[int]uint64),
	}
	p.e = New(Config{SessionID: "s", PageSize: 4096, Lost: func() (uint64, uint64) { return p.m.lostMarkers(), 0 }}, p)
	addSites(p.e)
	p.m = newMachine(p.e)
	p.m.full = p.full
	p.spawn(nil)
	return p
}

func (p *program) full() bool {
	if p.burst > 0 {
		p.burst--
		return true
	}
	if p.lossy > 0 && p.choose.upTo(p.lossy) == 0 && p.lossy > 1 {
		p.burst = p.choose.upTo(1 + p.choose.upTo(60))
		return true
	}
	return false
}

func (p *program) fatalf(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("at %d, thread %v %+v: %s", p.m.now, p.now.actor.task, p.now, fmt.Sprintf(format, args...))
}

// ---- what the engine tells ----

// Record takes what the engine tells.
func (p *program) Record(r stream.Record) {
	switch r := r.(type) {
	case *stream.Boundary:
		p.boundary(r)
	case *stream.Violation:
		p.fatalf("violation: %v", r.Err)
	case *stream.Orphan:
		p.orphan(r)
	case *stream.Loss:
		p.loss(r)
	}
}

func (p *program) boundary(b *stream.Boundary) {
	th := p.e.tasks.threads[uint32(b.Thread.HostTID)]
	if th != nil && p.now.actor != nil && th.key == p.now.actor.key() {
		p.now.outputs++ // and not of one that had the id before
	}
	if b.Action == recorder.Enter {
		p.entered(b)
		return
	}
	r := p.open[b.Scope]
	delete(p.open, b.Scope)
	switch {
	case r == nil && b.Synthetic != stream.ReasonLost && !p.ends(b.Synthetic):
		p.fatalf("a stand-in ended as %q", b.Synthetic)
	case r == nil:
	case b.Synthetic == stream.ReasonNone:
		if r != p.now.phase || p.now.effect != probe.Exit || b.Time != p.m.now || b.Duration != p.m.now-r.enter || b.Path.String() != r.path {
			p.fatalf("exit of %s, %d ns; really %s, %d ns", b.Path, b.Duration, r.path, p.m.now-r.enter)
		}
		p.exact++
	case r.loose:
	case b.Synthetic == stream.ReasonLost:
		if !r.exitGone && !(p.now.reasons != nil && p.gapPending()) {
			p.fatalf("%s of %v is said to have lost its exit, which did not come yet: %+v; %+v; lanes %+v", r.path, r.owner.task, r, p.m.ev, p.e.tasks.last.lanes)
		}
	case r.exited && r.kind != pairParcel || !p.ends(b.Synthetic):
		p.fatalf("%s ended as %q", r.path, b.Synthetic)
	}
}

// ends reports whether a scope may end for a reason now.
func (p *program) ends(why stream.Reason) bool {
	for _, r := range p.now.reasons {
		if r == why {
			return true
		}
	}
	return false
}

// gapPending: an end comes after markers of which nothing was told yet.
func (p *program) gapPending() bool { return p.m.lostMarkers() > 0 }

func (p *program) entered(b *stream.Boundary) {
	if b.Synthetic != stream.ReasonNone {
		if b.Synthetic != stream.ReasonLost || b.Path.Name() != stream.LostName {
			p.fatalf("synthetic enter of %s: %q", b.Path, b.Synthetic)
		}
		return
	}
	r := p.now.phase
	if r == nil || p.now.effect != probe.Enter || b.Time != p.m.now || b.Path.String() != r.path {
		p.fatalf("enter of %q, really %q: depth %d, low %d, seq %d; lanes %+v", b.Path, r.path, p.m.ev.Depth, p.m.ev.Low, p.m.ev.Seq, p.e.tasks.last.lanes)
	}
	if b.Thread.HostTID != int(p.now.actor.tid) {
		p.fatalf("enter on thread %d", b.Thread.HostTID)
	}
	r.delivered, r.owner = true, p.now.actor
	p.open[b.Scope] = r
}

func (p *program) orphan(o *stream.Orphan) {
	if !p.now.orphan {
		p.fatalf("orphan (%s)", o.Reason)
	}
}

func (p *program) loss(l *stream.Loss) {
	p.losses += l.Count
	p.byPID[l.Thread.Process.HostPID] += l.Count
	if p.now.actor != nil && p.now.gap != l.Count {
		p.fatalf("%d records said to be lost, really %d", l.Count, p.now.gap)
	}
	if p.now.outputs > 0 {
		p.fatalf("a loss is told after what came after it: %+v", l)
	}
}

// ---- what the program does ----

func (p *program) spawn(like *actor) *actor {
	pid := uint32(0)
	if like != nil {
		pid = like.pid
	}
	a := &actor{task: p.m.newTask(pid)}
	if like == nil {
		p.e.AddProcess(stream.Process{PID: int(a.pid), HostPID: int(a.pid)})
	}
	p.threads = append(p.threads, a)
	return a
}

// mark hits a site and checks what came of it.
func (p *program) mark(a *actor, phase *real, number int, value uint64) bool {
	p.now = moment{actor: a, phase: phase, effect: p.e.sites.list[number].Effect, gap: a.seq - a.seen}
	if phase != nil && p.now.effect == probe.Exit {
		p.now.orphan = phase.inherited || phase.kind == pairParcel && !phase.delivered
	}
	name := ""
	if phase != nil {
		name = phase.name
	}
	if !p.m.marker(a.task, number, value, name, -1) {
		return false
	}
	a.seen = a.seq
	return true
}

func pathOf(stack []*real, name string) string {
	var parts []string
	for _, r := range stack {
		switch {
		case r.inherited:
		case r.delivered:
			parts = append(parts, r.name)
		default:
			parts = append(parts, stream.LostName)
		}
	}
	return strings.Join(append(parts, name), " / ")
}

func (p *program) enter(a *actor) {
	kind := p.choose.upTo(pairOther + 1)
	lane := &a.lanes[0]
	if kind == pairOther {
		lane = &a.lanes[1]
	}
	r := &real{kind: kind, name: nameOf(2 * kind)}
	for _, o := range *lane {
		if len(*lane) > 4 || kind == pairQuery && (o.kind == pairQuery || o.kind == pairPlan) || kind == pairPlan && o.kind == pairPlan {
			p.exit(a, lane)
			return
		}
	}
	if p.e.sites.list[2*kind].Name != None {
		r.name = fmt.Sprintf("n%d", p.choose.upTo(2))
	}
	p.token++
	r.token = p.token
	r.path = pathOf(*lane, r.name)
	*lane = append(*lane, r)
	before := len(p.open)
	if p.mark(a, r, 2*kind, r.token) {
		r.enter = p.m.now
		if !r.delivered || len(p.open) > before+1 {
			p.fatalf("an enter was not told")
		}
	}
}

func (p *program) exit(a *actor, lane *[]*real) {
	n := len(*lane) - 1
	if n < 0 {
		return
	}
	r := (*lane)[n]
	*lane = (*lane)[:n]
	exact := p.exact
	r.exited = true
	arrived := p.mark(a, r, 2*r.kind+1, r.token)
	r.exitGone = !arrived
	if arrived && r.delivered && !r.inherited && p.exact != exact+1 && !r.loose {
		p.fatalf("the exit of %s was not told", r.path)
	}
}

func (p *program) parcel(a *actor) {
	if len(p.keys) < 8 && p.choose.upTo(2) == 0 {
		p.token++
		r := &real{kind: pairParcel, name: "parcel", path: "parcel", token: p.token}
		p.keys = append(p.keys, p.token)
		// Keys are matched within a process.
		r.inherited = false
		p.parcels[p.token] = r
		r.loose = false
		r.enter = p.m.now + 1
		p.mark(a, r, 2*pairParcel, p.token)
		r.kind = pairParcel
		r.name = fmt.Sprint(a.pid)
		return
	}
	if len(p.keys) == 0 {
		return
	}
	i := p.choose.upTo(len(p.keys))
	key := p.keys[i]
	r := p.parcels[key]
	if r.name != fmt.Sprint(a.pid) {
		return // another process's
	}
	p.keys = append(p.keys[:i], p.keys[i+1:]...)
	delete(p.parcels, key)
	r.exited = true
	r.exitGone = !p.mark(a, r, 2*pairParcel+1, key)
}

// end ends a thread, and its process with the last one.
func (p *program) end(i int) {
	a := p.threads[i]
	last := true
	for j, o := range p.threads {
		last = last && (j == i || o.pid != a.pid)
	}
	p.threads = append(p.threads[:i], p.threads[i+1:]...)
	end := p.m.threadExit
	p.now = moment{actor: a, gap: a.seq - a.seen, reasons: []stream.Reason{stream.ReasonThreadExit}}
	if last {
		end = func(t *task) bool { return p.m.processExit(t, 0) }
		p.now.reasons = []stream.Reason{stream.ReasonProcessExit}
		p.dropParcels(a.pid)
	}
	if a.marked || last {
		if !end(a.task) {
			p.loosen(a)
			if last {
				p.now.reasons = append(p.now.reasons, stream.ReasonProcessExit)
				p.e.ProcessGone(int(a.pid), 0, p.m.now)
			}
		}
	}
	// The first thread's id stays taken as long as the process lives.
	if a.tid != a.pid {
		p.m.freed = append(p.m.freed, a.tid)
	}
	if last {
		p.m.freed = append(p.m.freed, a.pid)
	}
}

// dropParcels forgets the parcels of a process that is over.
func (p *program) dropParcels(pid uint32) {
	kept := p.keys[:0]
	for _, k := range p.keys {
		if p.parcels[k].name == fmt.Sprint(pid) {
			p.parcels[k].loose = true
			delete(p.parcels, k)
			continue
		}
		kept = append(kept, k)
	}
	p.keys = kept
}

// loosen: a record of the thread's life was lost, so its scopes may be said to
// end in any way, later.
func (p *program) loosen(a *actor) {
	for _, r := range p.open {
		r.loose = r.loose || r.owner == a
	}
}

func (p *program) fork(a *actor) {
	child := &actor{task: p.m.newTask(0)}
	for i, lane := range a.lanes {
		for _, r := range lane {
			c := *r
			c.inherited = true
			child.lanes[i] = append(child.lanes[i], &c)
		}
	}
	p.now = moment{actor: child, reasons: []stream.Reason{stream.ReasonProcessExit}}
	p.m.forked(a.task, child.task)
	p.threads = append(p.threads, child)
}

// exec makes a thread run another program: the others of its process are gone.
func (p *program) exec(a *actor) {
	old := a.tid
	p.dropParcels(a.pid)
	var kept []*actor
	for _, o := range p.threads {
		switch {
		case o == a || o.pid != a.pid:
			kept = append(kept, o)
			continue
		}
		p.now = moment{actor: o, gap: o.seq - o.seen, reasons: []stream.Reason{stream.ReasonThreadExit}}
		if o.marked && !p.m.threadExit(o.task) {
			p.loosen(o)
		}
		if o.tid == o.pid {
			a.start = o.start // the kernel hands the first thread's on
		} else {
			p.m.freed = append(p.m.freed, o.tid)
		}
	}
	p.threads = kept
	if a.tid != a.pid {
		p.m.freed = append(p.m.freed, a.tid)
		if len(kept) > 0 && a.start != 0 && old != a.pid {
			a.tid = a.pid
		}
	}
	p.now = moment{actor: a, gap: a.seq - a.seen, reasons: []stream.Reason{stream.ReasonExec}}
	a.run(p.m.now)
	for _, lane := range a.lanes {
		for _, r := range lane {
			r.loose = r.loose || a.seq != a.seen // the gap before it is seen only later
		}
	}
	if !p.m.exec(a.task, old) {
		p.loosen(a)
	} else if th := p.e.tasks.threads[a.tid]; th != nil && th.nextSeq == a.seq {
		a.seen = a.seq
	}
	a.lanes = [2][]*real{}
}

// leaderAlive reports whether the first thread of a process is there still.
func (p *program) leaderAlive(pid uint32) bool {
	for _, o := range p.threads {
		if o.tid == pid {
			return true
		}
	}
	return false
}

func (p *program) step() {
	if len(p.threads) == 0 {
		p.spawn(nil)
	}
	i := p.choose.upTo(len(p.threads))
	a := p.threads[i]
	k := p.choose.upTo(200)
	if _, long := p.choose.(*seeded); long && k >= 190 && p.choose.upTo(5) > 0 {
		k = 0 // long tests need not so many threads
	}
	switch {
	case k < 90:
		p.enter(a)
	case k < 180:
		p.exit(a, &a.lanes[p.choose.upTo(8)/7])
	case k < 190:
		p.parcel(a)
	case k < 193 && len(p.threads) < 8:
		p.spawn(a)
	case k < 195:
		p.end(i)
	case k == 195 && len(p.threads) < 8:
		p.fork(a)
	case k == 196 && p.leaderAlive(a.pid):
		p.exec(a)
	case k == 197:
		a.rename(fmt.Sprintf("name%d", p.choose.upTo(9)))
	case k == 198 && !slices.ContainsFunc(a.lanes[0], func(r *real) bool { return r.kind == pairPlan }):
		p.mark(a, nil, siteStatus, 0)
	}
}

// finish ends the session and settles the account.
func (p *program) finish() {
	p.now = moment{reasons: []stream.Reason{stream.ReasonSessionEnd, stream.ReasonLost}}
	for _, r := range p.open {
		r.loose = true // what a loss at the very end hides
	}
	p.e.Begin()
	p.e.Reconcile(p.m.lost, p.m.now)
	p.now.outputs = 0
	p.e.Finish(p.m.now)
	p.e.End()
	if len(p.open) > 0 {
		p.t.Fatalf("%d scopes never ended", len(p.open))
	}
	if p.m.delivered+p.losses != p.m.produced {
		p.t.Fatalf("produced %d, delivered %d, said to be lost %d", p.m.produced, p.m.delivered, p.losses)
	}
	byPID := make(map[int]uint64)
	for _, l := range p.m.lost {
		byPID[int(l.PID)] += l.Count
	}
	for pid, n := range byPID {
		if p.byPID[pid] != n {
			p.t.Fatalf("process %d lost %d records, %d were told", pid, n, p.byPID[pid])
		}
	}
	if p.e.stats.Internal() != 0 || p.e.exits.left != maxExpected || len(p.e.tasks.threads) != 0 || p.e.keys.open != 0 {
		p.t.Fatalf("internal errors %d, %d more exits expected, threads %d, keyed %d left", p.e.stats.Internal(), maxExpected-p.e.exits.left, len(p.e.tasks.threads), p.e.keys.open)
	}
}

func (p *program) run() {
	for p.choose.more() {
		p.step()
	}
	p.finish()
}

var modelEvents = flag.Int("model-events", 300_000, "events in each randomised test of the engine; 10000000 for the long mode")

// A program that nests properly never breaks a rule, whatever is lost: what was
// delivered whole comes out exactly right, what was not is accounted for.
func TestTruthUnderLoss(t *testing.T) {
	for _, lossy := range []int{0, 4, 30, 300} {
		t.Run(fmt.Sprintf("one in %d", lossy), func(t *testing.T) {
			p := newProgram(t, newSeeded(uint64(lossy), *modelEvents), lossy)
			p.run()
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			t.Logf("%d markers, %d delivered, %d lost, %d phases exactly right, %d KiB of heap", p.m.produced, p.m.delivered, p.losses, p.exact, mem.HeapAlloc>>10)
			if lossy == 0 && p.losses > 0 || lossy > 0 && p.losses == 0 || p.exact < p.m.delivered/20 {
				t.Error("the test did not do what it says")
			}
		})
	}
}

func FuzzTruthUnderLoss(f *testing.F) {
	f.Add([]byte("enter and leave, enter and leave, and lose some of it"), uint8(20))
	f.Fuzz(func(t *testing.T, script []byte, lossy uint8) {
		newProgram(t, &scripted{script}, int(lossy)).run()
	})
}
