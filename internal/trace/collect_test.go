// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// collector is a sink that keeps everything.
type collector struct {
	mu         sync.Mutex
	start      *Start
	boundaries []Boundary
	violations []Violation
	orphans    []Orphan
	losses     []Loss
	processes  []ProcessChange
	samples    []GPUSample
	summary    *Summary
	order      []any // *Boundary and *Loss as they came
	onBoundary func(*Boundary)
}

func (c *collector) Start(s *Start) error { c.start = s; return nil }
func (c *collector) Boundary(b *Boundary) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	copied, thread := *b, *b.Thread
	copied.Attributes = bytes.Clone(b.Attributes)
	copied.Thread = &thread
	copied.GPU = append(copied.GPU[:0:0], b.GPU...)
	c.boundaries = append(c.boundaries, copied)
	c.order = append(c.order, &copied)
	if c.onBoundary != nil {
		c.onBoundary(b)
	}
	return nil
}
func (c *collector) Violation(v *Violation) error {
	c.violations = append(c.violations, *v)
	return nil
}
func (c *collector) Orphan(o *Orphan) error { c.orphans = append(c.orphans, *o); return nil }
func (c *collector) Loss(l *Loss) error {
	copied := *l
	c.losses = append(c.losses, copied)
	c.order = append(c.order, &copied)
	return nil
}
func (c *collector) Process(p *ProcessChange) error {
	c.processes = append(c.processes, *p)
	return nil
}
func (c *collector) GPUSample(s *GPUSample) error { c.samples = append(c.samples, *s); return nil }
func (c *collector) Flush() error                 { return nil }
func (c *collector) End(s *Summary) error         { c.summary = s; return nil }

// tracing is a session that runs beside a test.
type tracing struct {
	*collector
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

// attach starts a session and returns when every probe is in place.
func attach(t testing.TB, o Options) *tracing {
	t.Helper()
	testenv.BPF(t)
	tr := &tracing{collector: &collector{}, t: t, done: make(chan error, 1)}
	ready := make(chan struct{})
	o.Sink = tr.collector
	forced := testenv.Without(t)
	o.Without.UprobeMulti = o.Without.UprobeMulti || forced.UprobeMulti
	o.Without.Sleepable = o.Without.Sleepable || forced.Sleepable
	o.Without.CPURings = o.Without.CPURings || forced.CPURings
	if o.SessionID == "" {
		o.SessionID = "test"
	}
	if o.Message == nil {
		o.Message = func(m string) { t.Log(m) }
	}
	o.Attached = func(a Attached) error { t.Log(a.Message); close(ready); return nil }
	ctx, cancel := context.WithCancel(context.Background())
	tr.cancel = cancel
	t.Cleanup(cancel)
	go func() {
		_, err := Run(ctx, o)
		tr.done <- err
	}()
	select {
	case <-ready:
	case err := <-tr.done:
		t.Fatalf("the session did not start: %v", err)
	}
	return tr
}

// stop ends the session, or waits for it if it ends by itself, and returns
// its summary.
func (tr *tracing) stop() *Summary {
	tr.t.Helper()
	tr.cancel()
	return tr.wait()
}

func (tr *tracing) wait() *Summary {
	tr.t.Helper()
	if err := <-tr.done; err != nil {
		tr.t.Fatalf("the session failed: %v", err)
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
