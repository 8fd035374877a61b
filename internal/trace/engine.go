// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"github.com/phasetrace/phasetrace/internal/loader"
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
	SessionID string
	Rank      int32 // of processes that have none
	Policy    Policy
	Limits    recorder.Limits
	PageSize  int    // bytes
	RSSError  uint64 // bytes, see Resident.Error
	// Describe completes a process that a record told of: Exe, Rank and what
	// else the system knows. It may do I/O; it is called once per process and
	// per exec. nil: nothing is known.
	Describe func(*Process)
}

// output takes what the engine decides, in order. Records are valid during
// the call.
type output interface {
	boundary(*Boundary)
	violation(*Violation)
	orphan(*Orphan)
	loss(*Loss)
	process(*ProcessChange)
}

// Engine turns events into boundaries. It is for one goroutine.
type Engine struct {
	cfg       Config
	rec       *recorder.Recorder
	batch     recorder.Batch
	held      bool
	out       output
	sites     []*site // by Site.ID
	threads   map[uint32]*thread
	last      *thread // the thread of the previous record
	processes map[int]*process
	scopes    []scope // by recorder slot
	keyed     map[keyedScope]uint32
	stats     statistics
	defects   defects
	b         Boundary // reused
	attrs     []byte   // scratch
	intern    interner
	// exitThread is the thread that ends a keyed scope of another one.
	exitThread *Thread
}

// NewEngine returns an engine that has no site and no process yet.
func NewEngine(cfg Config, out output) *Engine {
	return &Engine{
		cfg:       cfg,
		rec:       recorder.New(cfg.Limits),
		out:       out,
		threads:   make(map[uint32]*thread),
		processes: make(map[int]*process),
		keyed:     make(map[keyedScope]uint32),
		intern:    interner{names: make(map[string]string)},
	}
}

// process is a traced process and what the engine keeps about it.
type process struct {
	Process
	inherited bool // its main thread began as a copy of the parent's thread
	ended     bool
}

// thread is a thread that has hit a site.
type thread struct {
	Thread
	key     loader.ThreadKey
	process *process
	nextSeq uint64
	lost    uint64 // markers known to be lost
	gaps    uint32 // number of gaps so far
	lanes   [loader.MaxLanes]lane
}

// lane is one strict stack of a thread, or several when its rank changes.
type lane struct {
	stacks  []*recorder.Stack // the current one first
	depth   int32             // as the kernel counted it, at the last delivered marker
	gaps    uint32            // gaps of the thread that this lane has been brought in line with
	refused uint32            // enters the recorder refused whose exits are still to come
	late    lateExits
}

// scope is what the engine keeps about an open scope, by its recorder slot.
type scope struct {
	token    recorder.Token
	stack    *recorder.Stack
	thread   *thread
	pair     *pair // nil for a scope whose enter was lost
	user     uint64
	start    int64
	inner    int64 // ns spent in scopes directly inside
	counters Counters
	resident uint64 // bytes, 0 if unknown
	key      keyedScope
	// closedElsewhere: another thread closed it while scopes lay above it.
	closedElsewhere bool
}

// keyedScope names a scope of a keyed pair.
type keyedScope struct {
	process *process
	pair    *pair
	value   uint64
}

// Begin prepares for a batch of events; End must follow before anything else
// uses the recorder. One lock serves the batch.
func (e *Engine) Begin() {
	if !e.held {
		e.batch, e.held = e.rec.Acquire(), true
	}
}

// End ends the batch.
func (e *Engine) End() {
	if e.held {
		e.held = false
		e.rec.Release()
	}
}

// Handle takes one event, in the order of the ring buffer, between Begin and
// End.
func (e *Engine) Handle(ev *loader.Event) {
	switch ev.Kind {
	case loader.KindMarker:
		e.marker(ev)
	case loader.KindThread:
		e.threadTold(ev)
	case loader.KindThreadExit:
		e.threadEnded(ev)
	case loader.KindProcessExit:
		e.threadEnded(ev)
		e.processEnded(ev)
	case loader.KindExec:
		e.exec(ev)
	case loader.KindFork:
		e.fork(ev)
	}
}

func (e *Engine) marker(ev *loader.Event) {
	th := e.last
	if th == nil || th.key.TID != ev.TID {
		if th = e.threads[ev.TID]; th == nil {
			e.stats.strangers++ // its identity was never told: cannot happen
			return
		}
		e.last = th
	}
	s := e.sites[ev.Site]
	s.hits++
	e.stats.markers++
	if ev.Seq != th.nextSeq {
		e.gap(th, ev)
	}
	th.nextSeq = ev.Seq + 1
	if s.over != nil {
		e.dropOver(th, s, ev)
		return
	}
	if s.pair.keyed() {
		e.keyedMarker(th, s, ev)
		return
	}
	ln := &th.lanes[ev.Lane]
	if ln.gaps != th.gaps {
		e.realign(th, ln, s, ev)
	}
	ln.depth = ev.Depth
	if ev.Role == loader.Enter {
		e.enter(th, ln, s, ev)
	} else {
		e.exit(th, ln, s, ev)
	}
}

// stack returns the lane's stack for the process's present rank.
func (e *Engine) stack(th *thread, ln *lane, p *pair) *recorder.Stack {
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
