// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// collector is a sink that keeps everything.
type collector struct {
	mu         sync.Mutex
	start      *stream.Start
	boundaries []stream.Boundary
	violations []stream.Violation
	orphans    []stream.Orphan
	losses     []stream.Loss
	processes  []stream.ProcessChange
	samples    []stream.Sample
	pairs      []stream.PairChange
	summary    *stream.Summary
	order      []stream.Record // boundaries and losses as they came
	onBoundary func(*stream.Boundary)
	onProcess  func(*stream.ProcessChange)
}

func (c *collector) Start(s *stream.Start) error { c.start = s; return nil }
func (c *collector) Record(r stream.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r := stream.Clone(r).(type) {
	case *stream.Boundary:
		c.boundaries = append(c.boundaries, *r)
		c.order = append(c.order, r)
		if c.onBoundary != nil {
			c.onBoundary(r)
		}
	case *stream.Violation:
		c.violations = append(c.violations, *r)
	case *stream.Orphan:
		c.orphans = append(c.orphans, *r)
	case *stream.Loss:
		c.losses = append(c.losses, *r)
		c.order = append(c.order, r)
	case *stream.ProcessChange:
		c.processes = append(c.processes, *r)
		if c.onProcess != nil {
			c.onProcess(r)
		}
	case *stream.PairChange:
		c.pairs = append(c.pairs, *r)
	case *stream.Sample:
		c.samples = append(c.samples, *r)
	}
	return nil
}

func (c *collector) Flush() error                { return nil }
func (c *collector) End(s *stream.Summary) error { c.summary = s; return nil }

// tracing is a session that runs beside a test.
type tracing struct {
	*collector
	t       testing.TB
	cancel  context.CancelFunc
	done    chan error
	session *Session
	targets []Target
}

// attach starts a session of processes and returns when every probe is in place.
func attach(t testing.TB, pids []int, c Config) *tracing {
	t.Helper()
	return attachTargets(t, targetsOf(pids), c)
}

func targetsOf(pids []int) (out []Target) {
	for _, pid := range pids {
		out = append(out, Target{PID: pid})
	}
	return out
}

func attachTargets(t testing.TB, targets []Target, c Config) *tracing {
	t.Helper()
	testenv.BPF(t)
	tr := &tracing{collector: &collector{}, t: t, done: make(chan error, 1), targets: targets}
	ready := make(chan struct{})
	c.Sink = tr.collector
	forced := testenv.Without(t)
	c.Without.UprobeMulti = c.Without.UprobeMulti || forced.UprobeMulti
	c.Without.Sleepable = c.Without.Sleepable || forced.Sleepable
	c.Without.CPURings = c.Without.CPURings || forced.CPURings
	c.Without.Nop10 = c.Without.Nop10 || forced.Nop10
	if c.SessionID == "" {
		c.SessionID = "test"
	}
	if c.Message == nil {
		c.Message = func(m string) { t.Log(m) }
	}
	c.Attached = func(a Attached) error { t.Log(a.Message); close(ready); return nil }
	ctx, cancel := context.WithCancel(context.Background())
	tr.cancel = cancel
	t.Cleanup(cancel)
	go func() {
		_, err := tr.run(ctx, c, targets)
		tr.done <- err
	}()
	select {
	case <-ready:
	case err := <-tr.done:
		t.Fatalf("the session did not start: %v", err)
	}
	return tr
}

// run opens a session, adds targets and runs it to its end.
func (tr *tracing) run(ctx context.Context, c Config, targets []Target) (*stream.Summary, error) {
	s, err := Open(c)
	if err != nil {
		return nil, err
	}
	tr.session = s
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, target := range targets {
		if err := s.Add(ctx, target); err != nil {
			return nil, err
		}
	}
	return s.Run(ctx)
}

// runAll is a whole session of processes.
func runAll(ctx context.Context, pids []int, c Config) (*stream.Summary, error) {
	return (&tracing{}).run(ctx, c, targetsOf(pids))
}

// stop ends the session, or waits for it if it ends by itself, and returns
// its summary.
func (tr *tracing) stop() *stream.Summary {
	tr.t.Helper()
	tr.cancel()
	return tr.wait()
}

func (tr *tracing) wait() *stream.Summary {
	tr.t.Helper()
	if err := <-tr.done; err != nil {
		tr.t.Fatalf("the session failed: %v", err)
	}
	// A preemptible kernel does so now and then; what a session does not see because
	// of it, other parts of a test tell.
	tr.summary.Notes = slices.DeleteFunc(tr.summary.Notes, func(n stream.Note) bool {
		if n.What == missedLivesNote {
			tr.t.Log(n)
		}
		return n.What == missedLivesNote
	})
	if tr.session.stuck.Load() || slices.ContainsFunc(tr.summary.Notes, func(n stream.Note) bool { return strings.HasPrefix(n.What, heldProbes) }) {
		return tr.summary // the kernel has not removed all; who looks into the program may wait, too
	}
	for _, target := range tr.targets {
		mustBeClean(tr.t, target.PID)
	}
	return tr.summary
}

func mustPairs(t testing.TB, specs ...string) []usdt.PairSpec {
	t.Helper()
	var out []usdt.PairSpec
	for _, s := range specs {
		p, err := usdt.ParsePair(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}
