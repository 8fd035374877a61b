// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/budget"
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// watcher has processes looked at, attached to and released. None of it happens
// where events are read: the reader only posts what calls for a look. The watcher
// owns the parts that do the work. They are guarded by mu, which is held while one
// of them works; nothing that reads events may wait for it.
type watcher struct {
	mu     sync.Mutex
	cfg    *Config
	core   *core
	mode   mode
	costs  *costs
	ctx    context.Context // ends looks
	cancel context.CancelFunc
	inbox  inbox

	report     *reporter
	files      *files
	looker     *looker
	plan       *plan
	targets    *targets
	guards     *guards
	postponed  *postponed
	count      attachedCount
	spawned    []*process.Spawned // that wait for Run
	wanted     *wanted
	childNotes []stream.Note // about children of targets that have ended
	left       atomic.Bool   // the kernel has not removed all probes; the guards stay

	// The rest is nil until there is something to attach to, or to wait for.
	tracer   *loader.Tracer
	loaded   int64 // when the programs began to be loaded, ns CLOCK_MONOTONIC
	holds    *holds
	keeper   *keeper
	settler  *settler
	releaser *releaser
	hooks    *hooks
	attacher *attacher
	follower *follower
	throttle *throttle // nil as well without a budget
}

func newWatcher(cfg *Config, core *core, m mode, costs *costs) *watcher {
	w := &watcher{
		cfg: cfg, core: core, mode: m, costs: costs, inbox: newInbox(), report: &reporter{cfg: cfg}, files: &files{pairs: cfg.Pairs},
		targets: &targets{follow: cfg.Follow, byPID: make(map[int]*target), shared: newReach()},
		count:   attachedCount{failures: make(map[string]bool)},
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.looker = &looker{cfg, w.files}
	w.plan = newPlan(cfg, core, m, &w.report.warnings)
	w.guards = newGuards(core, m, w.settleFirst, func(g *guard) { w.inbox.post(func() { w.overwritten(g) }) })
	w.postponed = &postponed{all: make(map[fileKey]*pending), post: w.inbox.post}
	return w
}

// load loads the programs, once.
func (w *watcher) load() error {
	if w.tracer != nil {
		return nil
	}
	opts := loader.Options{
		RingBytes: w.cfg.RingBytes, AllProcesses: w.cfg.Follow, FollowForks: w.cfg.Follow, Without: w.cfg.Without,
		Executables: len(w.cfg.Executables) > 0,
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
	w.costs.open(opts)
	w.wire(t)
	w.mode.use(t)
	return nil
}

// wire makes the parts that need the programs, each of those that it uses.
func (w *watcher) wire(t *loader.Tracer) {
	post, known := w.inbox.post, &executables{make(map[event.File]int64), make(map[event.File]bool)}
	w.holds = &holds{tracer: t, tasks: newInbox()}
	if w.cfg.Follow && t.HoldsExecs() {
		w.holds.halter = process.NewHalter(haltTime)
		go w.holds.run(w.ctx.Done())
	}
	k := &keeper{tracer: t, report: w.report, guards: w.guards, postponed: w.postponed, old: make(oldFiles), post: post}
	w.keeper = k
	w.settler = &settler{
		tracer: t, report: w.report, targets: w.targets, holds: w.holds, keeper: k, post: post,
		count: &w.count, again: func(t *target) { w.follower.lookAgain(t) },
	}
	w.releaser = &releaser{
		core: w.core, mode: w.mode, plan: w.plan, files: w.files, tracer: t, targets: w.targets, executables: known,
		keeper: k, settler: w.settler, post: post,
	}
	w.hooks = &hooks{tracer: t, report: w.report, targets: w.targets, keeper: k, holding: make(map[fileKey]hook)}
	w.attacher = &attacher{
		core: w.core, mode: w.mode, plan: w.plan, files: w.files, tracer: t, report: w.report, targets: w.targets,
		keeper: k, settler: w.settler, hooks: w.hooks, releaser: w.releaser,
		count: &w.count,
	}
	w.follower = &follower{
		ctx: w.ctx, core: w.core, costs: w.costs, plan: w.plan, tracer: t, report: w.report, targets: w.targets, executables: known,
		looker: w.looker, holds: w.holds, settler: w.settler, attacher: w.attacher, releaser: w.releaser,
		missed: &missed{plan: w.plan, files: w.files, targets: w.targets, report: w.report}, postponed: w.postponed, post: post,
		wanted: w.wanted,
	}
	w.postponed.look = w.follower.followPending
	if w.cfg.MaxOverhead > 0 {
		w.throttle = &throttle{
			core: w.core, costs: w.costs, plan: w.plan, targets: w.targets, tracer: t, keeper: k, settler: w.settler,
			releaser: w.releaser, post: post, again: w.follower.bringBack,
			budget: w.cfg.MaxOverhead, control: budget.New(w.cfg.MaxOverhead), number: make(map[*pair]int),
		}
		w.attacher.throttle = w.throttle
	}
}

// sweepInterval is how often the watcher looks for processes of whose end nobody
// told, and for files that nobody uses.
const sweepInterval = time.Second

// run works until stop; it owns nothing that outlives it.
func (w *watcher) run(stop <-chan struct{}) {
	ticker, titles := time.NewTicker(sweepInterval), time.NewTicker(titleInterval)
	defer ticker.Stop()
	defer titles.Stop()
	reader := titleReader{core: w.core}
	var looks <-chan time.Time
	if w.cfg.MaxOverhead > 0 {
		t := time.NewTicker(throttleInterval)
		defer t.Stop()
		looks = t.C
	}
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
		case <-looks:
			w.mu.Lock()
			if w.throttle != nil && w.ctx.Err() == nil {
				w.throttle.look()
			}
			w.mu.Unlock()
		case <-titles.C:
			reader.read(w.ctx)
		case <-ticker.C:
			w.mu.Lock()
			w.sweep()
			w.mu.Unlock()
		}
	}
}

// changed notes a change; the watcher looks when it comes to it. It never waits.
func (w *watcher) changed(c change) {
	note := func() {
		w.follower.changes.add(c)
		w.inbox.post(w.follower.followAll)
	}
	if w.holds.halter == nil || !c.exec && !c.start {
		note()
		return
	}
	// All in their order: a file's start comes after the exec of its program.
	w.holds.tasks.post(func() {
		c.halted = c.stoppable && w.holds.halt(c)
		note()
	})
}

// sweep finds processes of whose end no record told, and releases files that have
// been idle for long.
func (w *watcher) sweep() {
	for _, p := range w.core.processes() {
		if t := w.targets.byPID[p.PID]; t != nil && t.proc != nil {
			continue // its handle tells
		}
		if process.Gone(p.PID, p.StartTime) {
			w.core.endSoon(ending{pid: p.PID, started: p.StartTime, at: clock.Monotonic()})
		}
	}
	w.releaser.releaseIdle()
	w.targets.tellForks(w.report)
	w.lookForChildren()
	w.lookForRunning()
	w.report.flush()
}

// lookForChildren looks for children of the targets that are not traced.
func (w *watcher) lookForChildren() {
	if w.cfg.Follow {
		return
	}
	o := w.offspring()
	for _, t := range w.targets.inOrder() {
		o.look(w.ctx, t)
	}
}

// gone lets go of a process that is over and of what it alone used.
func (w *watcher) gone(e ending) {
	t := w.targets.byPID[e.pid]
	if t == nil || t.started != 0 && t.started != e.started {
		return // or its id is another process's by now
	}
	w.targets.tellForks(w.report) // a zombie still knows
	if n, ok := w.offspring().note(t); ok && len(w.childNotes) < maxWarnings {
		w.childNotes = append(w.childNotes, n)
	}
	delete(w.targets.byPID, e.pid)
	t.counters.end(&w.report.shortfall)
	w.releaser.release(t)
}

// free removes every probe and frees everything.
func (w *watcher) free() error {
	var err error
	if w.tracer != nil {
		if w.holds.halter != nil {
			w.holds.halter.Close()
		}
		if w.tracer.Links() > 0 {
			w.settler.settleAll() // it failed, or never ran
		}
		err = w.tracer.Close()
	}
	if !w.left.Load() {
		w.guards.close()
	}
	w.postponed.close()
	w.files.dropAllConstants()
	for _, t := range w.targets.byPID {
		if t.proc != nil {
			t.proc.Close()
		}
	}
	clear(w.targets.byPID)
	return err
}
