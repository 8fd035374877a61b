// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Session traces the phases of processes that are added to it. Add, Remove and
// Snapshot may be called at any time and from any goroutine, also while Run runs.
type Session struct {
	cfg       Config
	mode      mode
	core      *core
	watcher   *watcher
	describer describer
	started   int64   // ns, CLOCK_MONOTONIC; 0 before Run
	trapped   trapped // Run's, as is the next
	naming    naming
	costs     *costs
	stuck     atomic.Bool // the watcher hangs in the kernel
	detaching atomic.Pointer[loader.Tracer]
}

// rssCounters is how many of the kernel's counters make up the resident set.
const rssCounters = 3

// Open makes a session. Nothing is loaded before a target is added. The caller
// must Close it.
func Open(cfg Config) (*Session, error) {
	c := &core{clock: clock.NewUnix(nil), users: make(map[int]bool)}
	c.out = waiting{sink: cfg.Sink, clock: c.clock, figures: figures.NewBy(cfg.By)}
	if cfg.GPU != nil {
		c.out.gpu = newCorrelation(cfg.GPU)
	}
	s := &Session{cfg: cfg, core: c, mode: recording{c}}
	c.engine = engine.New(engine.Config{
		SessionID: cfg.SessionID, Rank: cfg.Rank, Policy: cfg.Policy,
		PageSize: os.Getpagesize(), ResidentError: process.RSSBound(rssCounters, runtime.NumCPU(), os.Getpagesize()),
		BootShift: clock.Shift().Boot, Lost: s.lostMarkers, Title: process.TitleIn,
	}, &c.out)
	if cfg.Count {
		m := newCounting(&s.cfg, c)
		s.mode, c.out.ended = m, m.note
	}
	if cfg.Count && cfg.MaxOverhead > 0 {
		return nil, ErrCountBudget
	}
	for _, p := range cfg.Pairs {
		if err := s.mode.refuses(p); err != nil {
			return nil, fmt.Errorf("pair %s: %w", p.String(), err)
		}
	}
	s.costs = newCosts(c, s.mode)
	s.costs.throttled = cfg.MaxOverhead > 0
	s.watcher = newWatcher(&s.cfg, c, s.mode, s.costs)
	wanted, err := newWanted(&s.cfg)
	if err != nil {
		return nil, err
	}
	s.watcher.wanted = wanted
	s.describer.describe = s.watcher.looker.describe
	if err := s.watcher.looker.pin(); err != nil {
		return nil, err
	}
	return s, nil
}

// Add looks at a process and attaches to it. A *NoMarkersError says that there is
// nothing to trace in it; the session is as it was before. When the context is over
// it returns soon, even if the kernel does not.
func (s *Session) Add(ctx context.Context, t Target) error {
	w := s.watcher
	return s.bounded(ctx, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		defer w.report.flush()
		return w.add(ctx, t)
	})
}

// Remove stops tracing a process, which goes on. Its probes are removed in the
// background, its open phases are closed (stream.ReasonSessionEnd).
func (s *Session) Remove(pid int) error {
	w := s.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.remove(pid)
}

// Close removes every probe and frees everything. It may be called more than
// once, but not while Run runs. What hangs in the kernel is freed when the call
// returns; until then the process cannot end.
func (s *Session) Close() error {
	w, done := s.watcher, make(chan error, 1)
	w.cancel()
	go func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		err := w.free()
		s.costs.settle()
		done <- err
	}()
	if s.stuck.Load() {
		return nil // Add or Run has told
	}
	select {
	case err := <-done:
		return err
	case <-time.After(endTime):
		return errHeld
	}
}

// Snapshot returns the figures so far. What only the end tells (sites that were
// never hit, pairs of which one side was) is left out.
func (s *Session) Snapshot() *stream.Summary {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	s.core.engine.Begin()
	open, total := s.core.engine.Open(stream.MaxOpen)
	s.core.engine.End()
	sum, _ := s.summary("", clock.Monotonic())
	sum.Open, sum.OpenTotal = open, total
	return sum
}

// Run reads until the context ends, the targets end or the duration is over, and
// returns the summary. Whatever ends it, what was recorded until then is drained
// and written, without waiting for what hangs in the kernel. The error is for what
// kept it from tracing or writing.
func (s *Session) Run(ctx context.Context) (*stream.Summary, error) {
	w := s.watcher
	if err := s.begin(); err != nil {
		return nil, err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		w.run(stop)
	}()
	s.core.setRunning(true)
	reason, err := s.loop(ctx)
	s.core.setRunning(false)
	close(stop)
	w.cancel() // a look that is under way ends
	sum, endErr := s.finish(reason, stopped)
	return sum, errors.Join(err, endErr)
}

// begin opens the stream and lets held programs go.
func (s *Session) begin() error {
	w := s.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tracer == nil {
		return fmt.Errorf("%w: no target was added", ErrNoMarkers)
	}
	if err := w.outlook().unknownNames(); err != nil {
		return err
	}
	if names := w.postponed.paths(); w.count.sites+w.count.postponed == 0 && len(names) > 0 {
		return fmt.Errorf("attach: %s: somebody has it open for writing, so it may change: close it first", list(names))
	}
	if len(w.plan.sites) > 0 && w.count.sites+w.count.postponed == 0 {
		return fmt.Errorf("attach: no site could be attached: %s", list(slices.Collect(maps.Keys(w.count.failures))))
	}
	if err := s.mode.begin(); err != nil {
		return err
	}
	s.costs.ready()
	s.costs.run()
	s.started = clock.Monotonic()
	s.core.out.started = s.started
	if err := s.cfg.Sink.Start(s.startRecord()); err != nil {
		return err // names what could not be written
	}
	w.report.flush()
	if s.cfg.Attached != nil {
		err := s.cfg.Attached(Attached{
			Message: w.attachedMessage(), Off: w.outlook().off(), NeedsAdmin: !w.tracer.Features().UprobeMulti,
		})
		if err != nil {
			return err
		}
	}
	w.lookForChildren()
	w.report.flush()
	s.tellSampler()
	return w.letGo()
}

func (s *Session) startRecord() *stream.Start {
	host, _ := os.Hostname()
	r := &stream.Start{
		Time: s.started, Unix: s.core.clock.At(s.started), SessionID: s.cfg.SessionID, Host: host,
		Version: s.cfg.Version, Kernel: kernelRelease(), Processes: s.core.processes(),
		Pairs: s.watcher.plan.infos(), GPUStatus: s.cfg.GPUStatus,
	}
	if g := s.core.out.gpu; g != nil {
		r.Devices = g.devices
	}
	return r
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// tellSampler tells the sampler whose memory to look for on the devices.
func (s *Session) tellSampler() {
	if s.cfg.GPU == nil {
		return
	}
	var pids []int
	for _, p := range s.core.processes() {
		if p.HostPID != 0 {
			pids = append(pids, p.HostPID)
		} else {
			pids = append(pids, p.PID) // until a record tells
		}
	}
	slices.Sort(pids)
	s.cfg.GPU.SetPIDs(pids)
}

// detachProgress tells how detaching gets on when it takes long, as it does
// with many probes on kernels without uprobe_multi.
func (s *Session) detachProgress() func(done, total int) {
	began, reported := time.Now(), time.Now()
	return func(done, total int) {
		if now := time.Now(); now.Sub(began) > time.Second && now.Sub(reported) > time.Second {
			reported = now
			s.cfg.Message(fmt.Sprintf("detaching: %d of %d probes removed", done, total))
		}
	}
}
