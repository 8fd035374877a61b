// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/phasetrace/phasetrace/internal/figures"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/event"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/clock"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// drainInterval is how often the ring buffer is read when nothing wakes the
// reader.
const drainInterval = 10 * time.Millisecond

// gpuWakeInterval is how soon after the last wakeup a marker wakes the reader
// again when memory is sampled: samples must be taken near boundaries.
const gpuWakeInterval = time.Millisecond

// Options of a session.
type Options struct {
	PIDs []int
	// Spawned is a program held before its first instruction; Run lets it go
	// when the probes are in place. nil: only PIDs are traced.
	Spawned *process.Spawned
	Pairs   []usdt.PairSpec // empty: the default choice
	// Follow traces children too, from their first instruction.
	Follow bool
	// UnsafeNops attaches to five-byte nops although the kernel rewrites them
	// unsafely; see loader.Rewriting.
	UnsafeNops bool
	// Libraries are files to attach to although no process maps them yet.
	Libraries []string
	Duration  time.Duration // 0: until the targets end or the context does
	SessionID string
	Rank      int32 // of processes whose rank nobody says
	RankGiven bool  // the user gave Rank: it goes before the environment
	Policy    engine.Policy
	RingBytes int // 0: the loader's default
	Without   loader.Without
	Sink      stream.Sink
	// GPU is the sampler of device memory, nil for none. Run does not close it.
	GPU       *gpu.Sampler
	GPUStatus string // why GPU is nil
	// Aggregate counts phases in the kernel, by path, instead of recording their
	// boundaries: sinks get no Boundary and no Orphan.
	Aggregate bool
	// Attached is called once every probe is in place. An error ends the session.
	Attached func(Attached) error
	// Message tells the user something on the way; it must not be nil.
	Message func(string)
	Version string
}

// Attached is what there is to know once every probe is in place.
type Attached struct {
	Message string // a sentence that says what was attached
	// NeedsAdmin: more probes, as for a library that is loaded later, can only be
	// made with CAP_SYS_ADMIN here.
	NeedsAdmin bool
}

// ErrNoMarkers is wrapped when a target has nothing to trace.
var ErrNoMarkers = errors.New("no USDT markers to trace")

// session is one running Run.
type session struct {
	drained bool // the last read left nothing unread
	o       Options
	files   files
	choice  choice
	engine  *engine.Engine
	queue   queue
	clock   *clock.Unix
	tracer  *loader.Tracer
	count   *counting                // with Options.Aggregate, else nil
	targets map[int]*attachee        // by PID
	reach   reach                    // with Follow: of every process
	holding map[fileID]bool          // dynamic linkers in which new programs wait
	looked  int64                    // when children were last looked for
	missed  map[*stream.Process]bool // that were gone then, perhaps with records unread
	// Files attached later than they were mapped.
	lateExecs, lateLibraries late
	missedExecs              uint64 // programs that ended before they could be looked at
	execFiles                map[event.File]bool
	started                  int64
	last                     int64 // time of the last record handled
	warned                   int   // warnings already told
	attached                 attachment
	unread                   int // files of living processes that could not be read
	changes                  []change
}

// attachment sums up what has been attached.
type attachment struct {
	sites, files int
	failures     int
	failed       []string // failures that have not been told yet
}

// attachee is a process whose files are attached to.
type attachee struct {
	proc     *process.Process
	reach    reach // what is attached for it alone
	modules  []process.Module
	starting bool // its libraries are not mapped yet
	unread   int  // files that the last look could not read
	gone     bool // it has ended; its last records may still be unread
}

// Run traces until the context ends, the targets end or the duration is over,
// and returns the summary. Whatever ends it, what was recorded until then is
// drained and written. The error is for what kept it from tracing or writing.
func Run(ctx context.Context, o Options) (*stream.Summary, error) {
	s := &session{o: o, clock: clock.NewUnix(nil), targets: make(map[int]*attachee)}
	s.reach, s.holding, s.execFiles = newReach(), make(map[fileID]bool), make(map[event.File]bool)
	s.queue = queue{sink: o.Sink, clock: s.clock, figures: figures.New()}
	if o.GPU != nil {
		s.queue.gpu = newGPU(o.GPU)
	}
	s.engine = engine.New(engine.Config{
		SessionID: o.SessionID, Rank: o.Rank, Policy: o.Policy,
		PageSize: os.Getpagesize(), ResidentError: process.RSSBound(rssCounters, cpus(), os.Getpagesize()),
		Describe: s.describe, Lost: s.lostMarkers,
	}, &s.queue)
	s.choice = choice{flags: o.Pairs, engine: s.engine, rewriting: loader.NopRewriting(), unsafeNops: o.UnsafeNops}
	if o.Aggregate {
		s.count, s.choice.counted = newCounting(s), true
		if err := checkCounted(o.Pairs); err != nil {
			return nil, err
		}
	}
	defer s.close()
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	reason, err := s.loop(ctx)
	sum, endErr := s.finish(reason)
	return sum, errors.Join(err, endErr)
}

// rssCounters is how many of the kernel's counters make up the resident set.
const rssCounters = 3

func (s *session) close() {
	if s.tracer != nil {
		s.tracer.Close()
	}
	for _, t := range s.targets {
		t.proc.Close()
	}
}

// describe completes a process that a record told of.
func (s *session) describe(p *stream.Process) {
	proc, err := process.Open(p.PID)
	if err != nil {
		return // it has ended already; what the record said must do
	}
	defer proc.Close()
	fillProcess(p, proc, s.o)
}

// lostMarkers is the kernel's count of lost markers, see Config.Lost.
func (s *session) lostMarkers() (all, stateless uint64) {
	st, err := s.tracer.Stats()
	if err != nil {
		return math.MaxUint64, math.MaxUint64 // not known: nobody is to be blamed
	}
	return st.Lost + st.LostNoState, st.LostNoState
}

func fillProcess(p *stream.Process, proc *process.Process, o Options) {
	p.Comm, p.Exe, p.StartTime = proc.Comm, proc.Exe, proc.StartTime
	if n := len(proc.NSPIDs); n > 0 {
		p.ContainerPID = proc.NSPIDs[n-1]
	}
	if o.RankGiven || p.RankSource == "marker" {
		return
	}
	if rank, source, ok := proc.Rank(); ok {
		p.Rank, p.RankSource = int32(rank), source
	}
}

// loop reads until something ends the session.
func (s *session) loop(ctx context.Context) (reason string, err error) {
	var deadline <-chan time.Time
	if s.o.Duration > 0 {
		timer := time.NewTimer(s.o.Duration)
		defer timer.Stop()
		deadline = timer.C
	}
	for {
		if err := s.read(); err != nil {
			return "error", err
		}
		select {
		case <-ctx.Done():
			return "interrupt", nil
		case <-deadline:
			return "duration", nil
		default:
		}
		if s.ended() {
			return "target_exit", nil
		}
	}
}

// read handles one batch of records and lets the sinks show it.
func (s *session) read() error {
	read := clock.Monotonic()
	n, err := s.tracer.Read(time.Now().Add(s.drainInterval()), s.handle)
	s.engine.End()
	if s.drained = n < loader.MaxBatch; !s.drained {
		read = s.last
	}
	if err != nil {
		return err
	}
	now := clock.Monotonic()
	if err := s.count.poll(now); err != nil {
		return err
	}
	s.afterBatch(now, read)
	if s.queue.err != nil {
		return s.queue.err
	}
	return nil
}

func (s *session) handle(ev event.Event) {
	s.engine.Begin()
	s.engine.Handle(ev)
	s.last = ev.Common().Time
	s.noteChange(ev)
}

// afterBatch lets everybody act upon a batch; all records up to the time read are
// in it or were before.
func (s *session) afterBatch(now, read int64) {
	if s.clock.Check(now) {
		s.tellSampler()
	}
	s.queue.advance(now, read, false)
	s.followChanges()
	s.queue.flush()
}

// tellSampler says whose memory to look for on the devices.
func (s *session) tellSampler() {
	if s.queue.gpu == nil {
		return
	}
	var pids []int
	for _, p := range s.engine.Processes() {
		if p.HostPID != 0 {
			pids = append(pids, p.HostPID)
		} else {
			pids = append(pids, p.PID) // until a record tells
		}
	}
	s.queue.gpu.sampler.SetPIDs(pids)
}

// ended reports whether no target is left.
func (s *session) ended() bool {
	for pid, t := range s.targets {
		select {
		case <-t.proc.Done():
		default:
			continue
		}
		if !t.gone || !s.drained {
			t.gone = true // its records come first: look again when all are read
			continue
		}
		s.engine.Begin()
		s.engine.ProcessGone(pid, t.proc.StartTime, clock.Monotonic())
		s.engine.End()
		t.proc.Close()
		delete(s.targets, pid)
	}
	return len(s.targets) == 0 && !s.childrenLeft()
}

// finish detaches, drains and sums up.
func (s *session) finish(reason string) (*stream.Summary, error) {
	s.engine.Detaching(clock.Monotonic())
	errs := []error{s.count.end(clock.Monotonic()), s.tracer.Detach(s.detachProgress())}
	s.engine.Begin()
	errs = append(errs, s.tracer.Drain(s.handle))
	s.engine.Begin()
	now := clock.Monotonic()
	if lost, err := s.tracer.LostByThread(); err != nil {
		errs = append(errs, err)
	} else {
		s.engine.Reconcile(lost, now)
	}
	s.engine.Finish(now)
	s.engine.End()
	errs = append(errs, s.count.finish())
	s.queue.advance(now, now, true)
	sum, err := s.summary(reason, now)
	errs = append(errs, err)
	if s.queue.err == nil {
		s.queue.note(s.o.Sink.End(sum))
	}
	if s.queue.err != nil {
		errs = append(errs, s.queue.err)
	}
	return sum, errors.Join(errs...)
}

// detachProgress tells how detaching gets on when it takes long, as it does
// with many probes on kernels without uprobe_multi.
func (s *session) detachProgress() func(done, total int) {
	began, told := time.Now(), time.Now()
	return func(done, total int) {
		if now := time.Now(); now.Sub(began) > time.Second && now.Sub(told) > time.Second {
			told = now
			s.o.Message(fmt.Sprintf("detaching: %d of %d probes removed", done, total))
		}
	}
}
