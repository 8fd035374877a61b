// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Policy says what happens to the stack after a violation.
type Policy uint8

// The policies.
const (
	// PolicyUnwind repairs the stack: whatever is above the closed scope is
	// closed too.
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
	// BootShift is what the time namespace of /proc adds to boot times, in ns:
	// Process.StartTime is as /proc shows it, events have the time without.
	BootShift int64
	// Title finds what a process says that it is in the memory of its arguments (see
	// event.Thread), "" for nothing. If it is nil, no process says so by a record.
	Title func(memory []byte, arguments int, comm, exe string) string
	// Lost returns how many markers the kernel has counted as lost so far, and
	// how many of them for want of memory for their thread's state: those leave
	// no gap in its records. It may do I/O; it is called at most once a batch. If
	// it is nil, the engine relies on records alone.
	Lost func() (all, stateless uint64)
}

// Output takes what the engine decides, in order. Records are valid during the
// call, as for a stream.Sink. Their Unix times are not set.
type Output interface{ Record(stream.Record) }

// Engine turns events into records. It is for one goroutine.
type Engine struct {
	*state
	markers markers
	lives   *lives
	inBatch bool
}

// state is what the engine knows. Judging reads it, repairing changes it.
type state struct {
	cfg     Config
	sites   sites
	tasks   tasks
	scopes  scopes
	keys    keys
	losses  losses
	defects defects
	exits   exitBudget
	stats   Stats
	ended   endedTallies
	// suspects are pairs whose phases may overlap, see Overlaps.
	suspects []*Pair
}

// New returns an engine that has no site and no process yet.
func New(cfg Config, out Output) *Engine {
	s := &state{
		cfg:    cfg,
		sites:  sites{until: math.MaxInt64, removal: noRemoval},
		tasks:  newTasks(cfg.Rank, cfg.BootShift),
		scopes: scopes{sessionID: cfg.SessionID, rec: recorder.New(cfg.Limits)},
		keys:   newKeys(),
		losses: newLosses(cfg.Lost),
		exits:  exitBudget{left: maxExpected},
	}
	emit := &emitter{out: out, pageSize: uint64(cfg.PageSize), residentError: cfg.ResidentError}
	b := &books{state: s, emit: emit, read: values{stats: &s.stats}}
	r := &repairer{books: b, state: s, judge: judge{s}}
	k := &keyedRepairer{books: b, state: s}
	l := &lives{state: s, books: b, keyed: k, emit: emit}
	return &Engine{state: s, lives: l, markers: markers{state: s, judge: judge{s}, repair: r, keyed: k, lives: l}}
}

// Begin prepares for a batch of events; End must follow before anything else
// uses the recorder. One lock serves the batch.
func (e *Engine) Begin() {
	if !e.inBatch {
		e.inBatch = true
		e.scopes.batch = e.scopes.rec.Acquire()
		e.losses.asked = false
	}
}

// End ends the batch.
func (e *Engine) End() {
	if e.inBatch {
		e.inBatch = false
		e.scopes.rec.Release()
	}
}

// Handle takes one event, in the order of the source, between Begin and End.
func (e *Engine) Handle(ev event.Event) {
	switch ev := ev.(type) {
	case *event.Marker:
		e.markers.handle(ev)
	case *event.Thread:
		e.lives.thread(ev)
	case *event.ThreadExit:
		e.lives.threadExit(ev, stream.ReasonThreadExit)
	case *event.ProcessExit:
		e.lives.processExit(ev)
	case *event.Exec:
		e.lives.exec(ev)
	case *event.Fork:
		e.lives.fork(ev)
	}
}

// AddSite makes a site known and returns its number, which markers carry.
// The engine keeps the site.
func (e *Engine) AddSite(s *Site) uint32 {
	if s.Pair.narrow(s.Key) {
		e.keys.narrowed(s.Pair)
	}
	if s.Effect != probe.Point {
		s.Pair.watch.add(s)
	}
	return e.sites.add(s)
}

// Hits returns how often a site was hit, not counting lost markers.
func (e *Engine) Hits(id uint32) uint64 { return e.sites.list[id].hits }

// RemoveSite forgets a site whose probes have been removed and whose markers have
// all been handled. Its number may be given to another site. Between Begin and End
// where Removing came before.
func (e *Engine) RemoveSite(id uint32) {
	if s := e.sites.list[id]; s != nil && s.until != 0 {
		e.markers.closeRemoved(s.until)
	}
	e.sites.remove(id, e.tasks.processes)
}

// Attaching says that sites are about to be attached: their markers are ignored
// until Attached says that they are, except in processes for which they are
// attached already. Attached must follow, even if attaching failed.
func (e *Engine) Attaching(sites []probe.Site) { e.sites.attaching(sites) }

// Attached says that sites were attached, for one process or for all (pid 0), all
// of them by a time (ns, CLOCK_MONOTONIC; boot is the same on CLOCK_BOOTTIME).
// Their earlier markers are ignored: while only some of the sites were attached,
// enters and exits did not match.
func (e *Engine) Attached(pid int, sites []probe.Site, time int64, boot uint64) {
	e.sites.attached(e.tasks.processes[pid], sites, gate{time, boot})
}

// EntersAttached says whether any enter of a pair is attached, which is assumed
// until it is called. Where none is, exits of the pair are orphans and nobody's
// fault.
func (e *Engine) EntersAttached(p *Pair, any bool) { p.noEnter = !any }

// Detaching says that sites are about to be detached: markers from now on (ns,
// CLOCK_MONOTONIC) are ignored, for the same reason as in Attached.
func (e *Engine) Detaching(time int64) { e.sites.until = time }

// AddProcess makes a process known before its first record.
func (e *Engine) AddProcess(p stream.Process) { e.tasks.addProcess(p) }

// RemoveProcess ends the tracing of a process that keeps running: its open scopes
// are closed. started is its Process.StartTime, 0 when that is not known.
func (e *Engine) RemoveProcess(pid int, started uint64, time int64) {
	e.lives.processRemoved(pid, started, time)
}

// Process returns a process that has not ended, by its id in the PID namespace
// phasetrace runs in; nil if there is none.
func (e *Engine) Process(pid int) *stream.Process {
	if p := e.tasks.processes[pid]; p != nil {
		return p.id
	}
	return nil
}

// Processes returns the processes that have not ended, by PID.
func (e *Engine) Processes() []*stream.Process { return e.tasks.identities() }

// Described completes what records said about a process with what the system
// knows. It does nothing for an unknown process, or one with another StartTime.
// Not between Begin and End.
func (e *Engine) Described(pid int, d Description) { e.lives.described(pid, d) }

// Titled says that a process has had another title since a time; see stream.Process.
// Like Described.
func (e *Engine) Titled(pid int, started uint64, title string, time int64) {
	e.lives.titled(pid, started, title, time)
}

// ProcessGone tells the engine that a process has ended without a record of that;
// it does nothing if there was one. started is its Process.StartTime, 0 when that
// is not known: another process may have its id by now.
func (e *Engine) ProcessGone(pid int, started uint64, time int64) {
	e.lives.processGone(pid, started, time)
}

// Reconcile takes the kernel's own count of lost markers by thread, and reports
// those that no later record of the thread showed.
func (e *Engine) Reconcile(lost map[event.ThreadKey]event.ThreadLoss, time int64) {
	e.lives.reconcile(lost, time)
}

// Finish closes everything that is still open, at the end of the session.
func (e *Engine) Finish(time int64) { e.lives.finish(time) }

// Violations returns the distinct defects, the most frequent first.
func (e *Engine) Violations() []stream.ViolationCount { return e.defects.counts() }

// KeyReuses returns the pairs with a key that was used again while it was open,
// in the order in which that was seen.
func (e *Engine) KeyReuses() []KeyReuse { return slices.Clone(e.keys.reused) }

// Overlaps returns the pairs without a key whose phases overlap on a thread, or
// may, in the order in which that was seen.
func (e *Engine) Overlaps() []Overlap {
	var out []Overlap
	for _, p := range e.suspects {
		out = append(out, p.watch.overlap(p))
	}
	return out
}

// Stats returns the counts so far. Not between Begin and End.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Lost = e.losses.total
	s.Violations, s.UnlistedViolations = e.defects.total, e.defects.unlisted
	s.Recorder = e.scopes.rec.Stats()
	return s
}
