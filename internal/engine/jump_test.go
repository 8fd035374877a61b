// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// jumper is a simulated program that leaves scopes without their exits, as
// longjmp does: the kernel's count of a lane stays too high from then on. Its
// records are lost at random. What a record proves must be true from then on.
type jumper struct {
	t       testing.TB
	choose  chooser
	m       *machine
	e       *Engine
	threads []*jumping
	scopes  map[int64]*jumped // whose enters were delivered, by time
	burst   int
	lossy   int
	token   uint64

	th    *jumping
	phase *jumped // that the present marker enters or exits
	told  bool    // an exit was, of phase and as it really was

	jumps, proofs, wrong, enters, exact int
}

// jumping is a thread of the program.
type jumping struct {
	*task
	lanes [2]jumpedLane
}

type jumpedLane struct {
	open []*jumped
	// unseen: the engine cannot have the lane right, for scopes were left.
	unseen bool
}

// jumped is a scope as it really was.
type jumped struct {
	name      string
	token     uint64
	enter     int64
	delivered bool // its enter was
	right     bool // the engine had the lane right when it was entered
	left      bool // without an exit
	around    bool // scopes inside it were left
}

func newJumper(t testing.TB, choose chooser, lossy int) *jumper {
	j := &jumper{t: t, choose: choose, lossy: lossy, scopes: make(map[int64]*jumped)}
	j.e = New(Config{SessionID: "s", PageSize: 4096, Lost: func() (uint64, uint64) { return j.m.lostMarkers(), 0 }}, j)
	addSites(j.e)
	j.m = newMachine(j.e)
	j.m.full = j.full
	j.e.AddProcess(stream.Process{PID: 1, HostPID: 1})
	return j
}

func (j *jumper) full() bool {
	if j.burst > 0 {
		j.burst--
		return true
	}
	if j.lossy > 0 && j.choose.upTo(j.lossy) == 0 {
		j.burst = j.choose.upTo(1 + j.choose.upTo(40))
		return true
	}
	return false
}

func (j *jumper) fatalf(format string, args ...any) {
	j.t.Helper()
	j.t.Fatalf("at %d, thread %d: %s", j.m.now, j.th.tid, fmt.Sprintf(format, args...))
}

// Record takes what the engine tells.
func (j *jumper) Record(r stream.Record) {
	switch r := r.(type) {
	case *stream.Boundary:
		if r.Action == recorder.Exit && r.Synthetic == stream.ReasonNone {
			if s := j.scopes[r.Time-r.Duration]; s == nil || s != j.phase || r.Time != j.m.now {
				j.fatalf("exit of %s after %d ns is none of the program's", r.Path, r.Duration)
			}
			j.told = true
		}
	case *stream.Violation:
		j.violation(r)
	case *stream.Orphan:
		if r.Reason != stream.OrphanLost {
			j.fatalf("orphan: %s", r.Reason)
		}
	}
}

// violation holds that the program did what it is blamed for.
func (j *jumper) violation(v *stream.Violation) {
	closing, top := j.scopes[v.ClosingStart], j.scopes[v.TopStart]
	if v.Err.Kind != recorder.NotLIFO || closing != j.phase || !closing.around || top == nil || !top.left {
		j.fatalf("%v; really %+v with %+v inside", v.Err, closing, top)
	}
}

// right reports whether the engine has a lane as it really is: the scopes whose
// enters were delivered, and stand-ins for the others.
func (j *jumper) right(th *jumping, lane int) bool {
	open, real := j.open(th, lane), th.lanes[lane].open
	return len(open) == len(real) && j.rightBelow(th, lane, len(real))
}

// rightBelow reports so for the n outermost scopes.
func (j *jumper) rightBelow(th *jumping, lane, n int) bool {
	open := j.open(th, lane)
	if len(open) < n {
		return false
	}
	for i, s := range th.lanes[lane].open[:n] {
		if open[i].standIn() == s.delivered || s.delivered && open[i].start != s.enter {
			return false
		}
	}
	return true
}

// open returns what the engine has open on a lane, the outermost first.
func (j *jumper) open(th *jumping, lane int) (out []*scope) {
	known := j.e.tasks.threads[th.tid]
	if known == nil {
		return nil
	}
	for _, st := range known.lane(uint8(lane)).stacks {
		for i := range st.Depth() {
			out = append(out, j.e.scopes.at(st, i))
		}
	}
	return out
}

func (j *jumper) standIns(th *jumping, lane int) (n, at int) {
	for i, sc := range j.open(th, lane) {
		if sc.standIn() {
			n, at = n+1, i
		}
	}
	return n, at
}

// unaligned reports whether the engine has to find out what happened on a lane.
func (j *jumper) unaligned(th *jumping, lane int) bool {
	known := j.e.tasks.threads[th.tid]
	return known == nil || known.nextSeq != th.seq || known.lane(uint8(lane)).gaps != known.gaps
}

func (j *jumper) enter(th *jumping, lane int) {
	j.token++
	s := &jumped{name: fmt.Sprint("n", j.choose.upTo(3)), token: j.token}
	sure := !th.lanes[lane].unseen
	j.th, j.phase = th, s
	s.delivered = j.m.marker(th.task, 2*pairOfLane(lane), s.token, s.name, -1)
	s.enter = j.m.now
	if s.delivered {
		j.scopes[s.enter] = s
	}
	th.lanes[lane].open = append(th.lanes[lane].open, s)
	if !s.delivered {
		return
	}
	s.right = j.right(th, lane)
	j.enters++
	if !s.right {
		j.wrong++
	}
	if sure && !s.right {
		j.fatalf("enter of %+v: the engine has %d open, really %d, and nothing was left", s, len(j.open(th, lane)), len(th.lanes[lane].open))
	}
	j.seen(th, lane)
}

func (j *jumper) exit(th *jumping, lane int) {
	ln := &th.lanes[lane]
	n := len(ln.open) - 1
	if n < 0 {
		return
	}
	s, sure := ln.open[n], !ln.unseen
	j.th, j.phase, j.told = th, s, false
	standIns, at := j.standIns(th, lane)
	only := !s.delivered && standIns == 1 && at == n && j.rightBelow(th, lane, n)
	gap := j.unaligned(th, lane)
	arrived := j.m.marker(th.task, 2*pairOfLane(lane)+1, s.token, "", -1)
	ln.open = ln.open[:n]
	if !arrived {
		return
	}
	if s.delivered && !j.told {
		j.fatalf("the exit of %+v was not told", s)
	}
	if s.delivered {
		j.exact++
	}
	proof := s.delivered && s.right || only && !gap
	if proof {
		j.proofs++
	}
	if (proof || sure) && !j.right(th, lane) {
		j.fatalf("after the exit of %+v (proof %v, sure %v) the engine has %d open, really %d", s, proof, sure, len(j.open(th, lane)), n)
	}
	j.seen(th, lane)
}

// seen notes whether the engine has a lane right, after a record of it.
func (j *jumper) seen(th *jumping, lane int) {
	if err := miscounted(j.e, j.e.tasks.threads[th.tid], lane); err != "" {
		j.fatalf("%s", err)
	}
	th.lanes[lane].unseen = !j.right(th, lane)
}

// jump leaves scopes without their exits.
func (j *jumper) jump(th *jumping, lane int) {
	ln := &th.lanes[lane]
	if len(ln.open) < 2 {
		return
	}
	to := 1 + j.choose.upTo(len(ln.open)-1)
	for _, s := range ln.open[to:] {
		s.left = true
	}
	for _, s := range ln.open[:to] {
		s.around = true
	}
	ln.open, ln.unseen = ln.open[:to], true
	j.jumps++
}

func pairOfLane(lane int) int { return []int{pairMarkers, pairOther}[lane] }

func (j *jumper) run() {
	for j.choose.more() {
		if len(j.threads) < 3 {
			j.threads = append(j.threads, &jumping{task: j.m.newTask(1)})
		}
		th := j.threads[j.choose.upTo(len(j.threads))]
		lane := j.choose.upTo(8) / 7
		switch k := j.choose.upTo(1000); {
		case k < 490 && len(th.lanes[lane].open) < 6:
			j.enter(th, lane)
		case k < 990:
			j.exit(th, lane)
		case k < 998:
			j.jump(th, lane)
		default:
			if th.marked {
				j.th, j.phase = th, nil
				j.m.threadExit(th.task)
			}
			j.threads = slices.DeleteFunc(j.threads, func(o *jumping) bool { return o == th })
		}
	}
	if n := j.e.stats.Internal(); n > 0 {
		j.t.Fatalf("%d records mishandled", n)
	}
}

// A program that leaves scopes without exits, and of which records are lost: what
// was delivered whole is exact, nobody is blamed for what was not done, and the
// first record that proves the stack makes it true again.
func TestJumpsUnderLoss(t *testing.T) {
	for _, lossy := range []int{0, 10, 100, 1000} {
		t.Run(fmt.Sprintf("one in %d", lossy), func(t *testing.T) {
			j := newJumper(t, newSeeded(uint64(lossy), *modelEvents), lossy)
			j.run()
			t.Logf("%d markers, %d delivered, %d jumps, %d of %d paths wrong, %d proofs, %d phases exactly right",
				j.m.produced, j.m.delivered, j.jumps, j.wrong, j.enters, j.proofs, j.exact)
			if j.jumps == 0 || j.proofs == 0 || j.exact == 0 {
				t.Error("the test did not do what it says")
			}
		})
	}
}

func FuzzJumpsUnderLoss(f *testing.F) {
	f.Add([]byte("enter and enter and leave at a jump, and lose some of it"), uint8(20))
	f.Fuzz(func(t *testing.T, script []byte, lossy uint8) {
		newJumper(t, &scripted{script}, int(lossy)).run()
	})
}
