// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
)

// watcher looks at processes and their files, plans, attaches, and releases what
// nobody uses any more. None of it happens where events are read: the reader only
// posts what calls for a look. Its fields are guarded by mu, which is held while
// it works; nothing that reads events may wait for it.
type watcher struct {
	mu     sync.Mutex
	cfg    *Config
	core   *core
	tracer *loader.Tracer // nil until there is something to attach to, or to wait for
	mode   mode
	ctx    context.Context // ends looks
	cancel context.CancelFunc

	plan    plan
	files   files
	targets map[int]*target  // by PID
	shared  reach            // with Config.Follow: of every process
	holding map[fileKey]hook // dynamic linkers in which new programs wait
	guards  *guards
	pending map[fileKey]*pending // files whose markers are not traced for now
	old     oldFiles
	left    atomic.Bool          // the kernel has not removed all probes; the guards stay
	known   map[event.File]int64 // since when their markers are attached, ns CLOCK_MONOTONIC
	passing map[event.File]bool  // executables of which every process has to be looked at
	idle    []*file              // that no target uses, the longest idle first
	spawned []*process.Spawned   // that wait for Run
	loaded  int64                // when the programs began to be loaded

	foreign   bool // as target.foreign, for some target
	attached  attachedCount
	shortfall shortfall
	halter    *process.Halter // nil: programs wait in the kernel

	inbox   inbox
	halting inbox // of the goroutine that stops programs
	changes changes
}

// attachedCount sums up what has been attached.
type attachedCount struct {
	sites     int             // counted again for each process that they are attached for
	postponed int             // times that a file was not attached because it was too early
	failures  map[string]bool // sites that could not be attached, and why
	untold    int             // failures that are not in there
}

// inbox holds tasks for the watcher's goroutine. Posting never waits.
type inbox struct {
	mu    sync.Mutex
	tasks []func()
	wake  chan struct{} // of one
}

func (in *inbox) post(task func()) {
	in.mu.Lock()
	in.tasks = append(in.tasks, task)
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

func (in *inbox) take() []func() {
	in.mu.Lock()
	defer in.mu.Unlock()
	tasks := in.tasks
	in.tasks = nil
	return tasks
}

func newWatcher(cfg *Config, core *core, m mode) *watcher {
	w := &watcher{
		cfg: cfg, core: core, mode: m, targets: make(map[int]*target), shared: newReach(),
		holding: make(map[fileKey]hook), pending: make(map[fileKey]*pending), old: make(oldFiles), known: make(map[event.File]int64),
		passing: make(map[event.File]bool),
		inbox:   inbox{wake: make(chan struct{}, 1)}, halting: inbox{wake: make(chan struct{}, 1)},
		attached: attachedCount{failures: make(map[string]bool)},
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.plan = newPlan(cfg, core, m)
	w.guards = newGuards(core, m, w.settleFirst, func(g *guard) { w.inbox.post(func() { w.overwritten(g) }) })
	return w
}

// haltTime bounds how long a program that has run exec stays stopped. It is longer
// than loader.HoldTime, because such a program uses no CPU; only on a machine that
// is very busy does it take more than a tenth of it.
const haltTime = time.Second

// sweepInterval is how often the watcher looks for processes of whose end nobody
// told, and for files that nobody uses.
const sweepInterval = time.Second

// run works until stop; it owns nothing that outlives it.
func (w *watcher) run(stop <-chan struct{}) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-w.inbox.wake:
			for _, task := range w.inbox.take() {
				w.mu.Lock()
				if w.ctx.Err() == nil {
					task()
				}
				w.mu.Unlock()
			}
		case <-ticker.C:
			w.mu.Lock()
			w.sweep()
			w.mu.Unlock()
		}
	}
}

// runHalting stops programs, one after the other, until no look is of use any more.
func (w *watcher) runHalting() {
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.halting.wake:
			for _, task := range w.halting.take() {
				task()
			}
		}
	}
}

// say tells the user something.
func (w *watcher) say(format string, args ...any) { w.cfg.Message(fmt.Sprintf(format, args...)) }

// load loads the programs, once.
func (w *watcher) load() error {
	if w.tracer != nil {
		return nil
	}
	opts := loader.Options{
		RingBytes: w.cfg.RingBytes, AllProcesses: w.cfg.Follow, FollowForks: w.cfg.Follow, Without: w.cfg.Without,
	}
	if w.cfg.GPU != nil {
		opts.WakeInterval = gpuWakeInterval
	}
	w.mode.options(&opts)
	w.loaded = clock.Monotonic()
	t, err := loader.Open(opts)
	if err != nil {
		return err
	}
	w.tracer = t
	if w.cfg.Follow && t.HoldsExecs() {
		w.halter = process.NewHalter(haltTime)
		go w.runHalting()
	}
	w.mode.use(t)
	return nil
}

// sweep finds processes of whose end no record told, and releases files that have
// been idle for long.
func (w *watcher) sweep() {
	for _, p := range w.core.processes() {
		if t := w.targets[p.PID]; t != nil && t.proc != nil {
			continue // its handle tells
		}
		if process.Gone(p.PID, p.StartTime) {
			w.core.endSoon(ending{pid: p.PID, started: p.StartTime, at: clock.Monotonic()})
		}
	}
	w.releaseIdle()
	w.tellForks()
	w.report()
}

// gone lets go of a process that is over and of what it alone used.
func (w *watcher) gone(e ending) {
	t := w.targets[e.pid]
	if t == nil || t.started != 0 && t.started != e.started {
		return // or its id is another process's by now
	}
	w.tellForks() // a zombie still knows
	delete(w.targets, e.pid)
	t.counters.end(&w.shortfall)
	w.release(t)
}

// report reports what has not been reported yet.
func (w *watcher) report() {
	for _, text := range w.plan.warnings.fresh() {
		w.say("warning: %s", text)
	}
}
