// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

// Policy says what happens to the stack after a violation.
type Policy uint8

// The policies.
const (
	// PolicyUnwind makes the stack true again: what lies above the closed scope
	// is closed too.
	PolicyUnwind Policy = iota
	// PolicyReject reports and leaves the stack as it is.
	PolicyReject
)

// Config of an Engine.
type Config struct {
	SessionID     string
	Rank          int32 // of processes that have none
	Policy        Policy
	Limits        recorder.Limits
	PageSize      int    // bytes
	ResidentError uint64 // bytes, see Resident.Error
	// Describe completes a process that a record told of: Exe, Rank and what
	// else the system knows. It may do I/O; it is called once per process and
	// per exec. nil: nothing is known.
	Describe func(*stream.Process)
	// Lost returns how many markers the kernel has counted as lost so far, and
	// how many of them for want of memory for their thread's state: those leave
	// no gap in its records. It may do I/O; it is called at most once a batch.
	// nil: what records show must do.
	Lost func() (all, stateless uint64)
}

// Output takes what the engine decides, in order. Records are valid during the
// call. Their Unix times are not set.
type Output interface{ Record(stream.Record) }

// Engine turns events into boundaries. It is for one goroutine.
type Engine struct {
	cfg       Config
	rec       *recorder.Recorder
	batch     recorder.Batch
	held      bool
	out       Output
	sites     []*Site  // by their numbers; nil where one is free
	free      []uint32 // numbers of sites that have been removed
	threads   map[uint32]*thread
	last      *thread // the thread of the previous record
	processes map[int]*tracee
	scopes    []scope // by recorder slot
	keyed     map[keyedScope]uint32
	keyedOver uint64                     // open keyed enters that were refused
	told      map[event.ThreadKey]uint64 // losses told, by the kernel's own keys
	toldFull  bool                       // some are not in told
	kernel    uint64                     // Config.Lost as of this batch
	stateless uint64                     // the same
	asked     bool                       // both are of this batch
	late      int                        // exits waited for on all lanes
	lastGate  gate                       // when sites were last attached for all processes
	until     int64                      // markers from this time on are passed over
	removal   int64                      // when the first probes are removed whose scopes are not closed yet
	stats     Stats
	defects   defects
	b         stream.Boundary // reused
	attrs     []byte          // scratch
	intern    interner
	// exitThread is the thread that ends a keyed scope of another one.
	exitThread *stream.Thread
}

// New returns an engine that has no site and no process yet.
func New(cfg Config, out Output) *Engine {
	return &Engine{
		cfg:       cfg,
		rec:       recorder.New(cfg.Limits),
		out:       out,
		threads:   make(map[uint32]*thread),
		processes: make(map[int]*tracee),
		keyed:     make(map[keyedScope]uint32),
		told:      make(map[event.ThreadKey]uint64),
		until:     math.MaxInt64,
		removal:   noRemoval,
		intern:    interner{names: make(map[string]string)},
	}
}

// process is a traced process and what the engine keeps about it.
type tracee struct {
	stream.Process
	inherited bool // its main thread began as a copy of the parent's thread
	ended     bool
	threads   []*thread
	gates     map[*Site]gate // when sites were attached for this process alone
	lastGate  gate           // the last of them
}

// thread is a thread that has hit a site.
type thread struct {
	stream.Thread
	key     event.ThreadKey
	process *tracee
	index   int   // in process.threads
	born    int64 // when it was told of
	time    int64 // of its last delivered marker
	nextSeq uint64
	gaps    uint32 // number of gaps so far
	program uint32 // what it runs, see event.Marker.Aux
	lanes   [probe.MaxLanes]lane
}

// lane is one strict stack of a thread, or several when its rank changes.
type lane struct {
	stacks []*recorder.Stack // the current one first
	time   int64             // of the last delivered marker
	depth  int32             // as the kernel counted it, at the last delivered marker
	gaps   uint32            // gaps of the thread that this lane has been brought in line with
	over   uint32            // open enters beyond a limit: the innermost ones, on no stack
	// unsure: scopes may be open that are on no stack, for nobody can say which
	// of those that a gap hides were.
	unsure bool
	late   lateExits
}

// scope is what the engine keeps about an open scope, by its recorder slot.
type scope struct {
	token    recorder.Token
	stack    *recorder.Stack
	thread   *thread
	pair     *Pair // nil for a scope whose enter was lost
	site     *Site // of its enter, the same
	user     uint64
	start    int64
	inner    int64 // ns spent in scopes directly inside
	counters stream.Counters
	resident uint64 // bytes, 0 if unknown
	key      keyedScope
	lost     uint64 // keyed: markers known to be lost when it was entered
	depth    int32  // of its lane, as the kernel counted it
	gaps     uint32 // of its thread, when it was entered
	// closedElsewhere: another thread closed it while scopes lay above it.
	closedElsewhere bool
}

// keyedScope names a scope of a keyed pair.
type keyedScope struct {
	process *tracee
	pair    *Pair
	value   uint64
}

// Begin prepares for a batch of events; End must follow before anything else
// uses the recorder. One lock serves the batch.
func (e *Engine) Begin() {
	if !e.held {
		e.batch, e.held = e.rec.Acquire(), true
		e.asked = false
	}
}

// End ends the batch.
func (e *Engine) End() {
	if e.held {
		e.held = false
		e.rec.Release()
	}
}

// Handle takes one event, in the order of the source, between Begin and End.
func (e *Engine) Handle(ev event.Event) {
	switch ev := ev.(type) {
	case *event.Marker:
		e.marker(ev)
	case *event.Thread:
		e.threadTold(ev)
	case *event.ThreadExit:
		e.threadEnded(ev, stream.ReasonThreadExit)
	case *event.ProcessExit:
		e.processEnded(ev)
	case *event.Exec:
		e.exec(ev)
	case *event.Fork:
		e.fork(ev)
	}
}

func (e *Engine) marker(ev *event.Marker) {
	if ev.Time >= e.removal {
		e.closeRemoved(ev.Time)
	}
	th := e.last
	if th == nil || th.key.TID != ev.TID {
		if th = e.threads[ev.TID]; th == nil {
			e.stranger()
			return
		}
		e.last = th
	}
	s := e.sites[ev.Site]
	s.hits++
	e.stats.Markers++
	switch {
	case ev.Program != th.program:
		e.missedExec(th, ev)
	case ev.Seq != th.nextSeq:
		e.gap(th, ev)
	}
	th.nextSeq, th.time = ev.Seq+1, ev.Time
	outside := e.outside(th, s, ev)
	switch {
	case s.Over != nil:
		if !outside {
			e.dropOver(th, s, ev)
		}
	case s.Pair.Keyed:
		if !outside {
			e.keyedMarker(th, s, ev)
		}
	default:
		e.nested(th, s, ev, outside)
	}
}

// nested handles a marker of a strictly nested pair.
func (e *Engine) nested(th *thread, s *Site, ev *event.Marker, outside bool) {
	ln := &th.lanes[ev.Lane]
	if !outside && th.misaligned(ln, ev) {
		e.realign(th, ln, s, ev)
	}
	ln.depth, ln.time = ev.Depth, ev.Time
	switch {
	case outside:
	case ev.Effect == probe.Enter:
		e.enter(th, ln, s, ev)
	default:
		e.exit(th, ln, s, ev)
	}
}

// stranger counts a marker of a thread that is not known.
func (e *Engine) stranger() {
	if e.stats.ThreadsRefused+e.stats.ProcessesRefused > 0 {
		e.stats.Untraced++
		return
	}
	e.stats.UnknownThreads++ // its identity was never told: cannot happen
}

// stack returns the lane's stack for the process's present rank.
func (e *Engine) stack(th *thread, ln *lane, p *Pair) *recorder.Stack {
	rank := th.process.Rank
	for i, st := range ln.stacks {
		if st.Key().Rank == rank {
			if i > 0 {
				ln.stacks[0], ln.stacks[i] = ln.stacks[i], ln.stacks[0]
			}
			return st
		}
	}
	st := e.batch.Stack(recorder.Key{
		SessionID: e.cfg.SessionID, Rank: rank, ThreadID: th.TID, Lane: p.laneName(),
	})
	ln.stacks = append(ln.stacks, st)
	last := len(ln.stacks) - 1
	ln.stacks[0], ln.stacks[last] = ln.stacks[last], ln.stacks[0]
	return st
}

// newest returns the innermost open scope of a lane, whatever its rank.
func (e *Engine) newest(ln *lane) *scope {
	var out *scope
	for _, st := range ln.stacks {
		if sc := e.top(st); sc != nil && (out == nil || sc.token.Scope() > out.token.Scope()) {
			out = sc
		}
	}
	return out
}

// top returns the innermost open scope of a stack.
func (e *Engine) top(st *recorder.Stack) *scope {
	if t, ok := st.Top(); ok {
		return &e.scopes[t.Slot()]
	}
	return nil
}

// at returns the i-th open scope of a stack, 0 being the outermost.
func (e *Engine) at(st *recorder.Stack, i int) *scope {
	return &e.scopes[st.At(i).Slot()]
}
