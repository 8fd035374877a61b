// SPDX-License-Identifier: Apache-2.0

package hitcost

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
)

const (
	// Batches is how many batches a measurement should have: it takes some 20 ms.
	Batches = 24
	// pairsPerBatch keeps a batch short: the less often one is interrupted, the fewer
	// figures are far off.
	pairsPerBatch = 8
	ringBytes     = 1 << 20
	textBytes     = 255
)

// Meter has markers of this program attached. Measure is for one goroutine at a
// time; Cost may be called at any time.
type Meter struct {
	tracer *loader.Tracer
	text   []byte
	turn   bool // of bare runs to come first

	mu     sync.Mutex
	levels []*level
}

// level is an amount of work between two hits, and what was measured with it.
type level struct {
	work       func()
	cost, gaps figures
}

// Open attaches the programs that a session with the same options runs to markers of
// this program. The caller must Close the meter.
func Open(session loader.Options) (*Meter, error) {
	t, err := loader.Open(loader.Options{
		RingBytes: ringBytes, MarkersOnly: true, AllProcesses: session.AllProcesses, Without: session.Without,
		Aggregate: session.Aggregate, AggregateReject: session.AggregateReject,
	})
	if err != nil {
		return nil, fmt.Errorf("measure the cost of a hit: %w", err)
	}
	m := &Meter{tracer: t, text: []byte("the name of a phase\x00")}
	w := newWork()
	m.levels = []*level{{work: func() {}}, {work: w.do}, {work: func() { w.repeat(muchWork) }}}
	if err := m.attach(session.Aggregate); err != nil {
		return nil, errors.Join(fmt.Errorf("measure the cost of a hit: %w", err), t.Close())
	}
	return m, nil
}

func (m *Meter) attach(aggregate bool) error {
	enter, exit, err := offsets()
	if err != nil {
		return err
	}
	arch, reg := textRegister()
	text := probe.Capture{Operand: probe.Operand{Text: "text", Size: 8, Kind: probe.OperandReg, Base: reg}, Type: probe.CaptureStr, Max: textBytes}
	if aggregate {
		text.Type = probe.CaptureInt
	}
	sites := []probe.Site{
		{ID: 0, Effect: probe.Enter, Arch: arch, Offset: enter, Captures: []probe.Capture{text}},
		{ID: 1, Effect: probe.Exit, Arch: arch, Offset: exit},
	}
	if err := m.tracer.AddTarget(os.Getpid()); err != nil {
		return err
	}
	_, failed, err := m.tracer.Attach(os.Getpid(), "/proc/self/exe", sites)
	if err == nil && len(failed) > 0 {
		err = failed[0]
	}
	if err != nil || !aggregate {
		return err
	}
	c := m.tracer.Counts()
	return errors.Join(c.PutSites([]loader.AggregateSite{
		{Site: 0, Role: probe.Enter, Literal: loader.LiteralOf(0)}, {Site: 1, Role: probe.Exit},
	}), c.Until(math.MaxInt64))
}

// Measure runs batches, which add to what is known.
func (m *Meter) Measure(batches int) error {
	runtime.LockOSThread() // the clock is the thread's
	defer runtime.UnlockOSThread()
	for range batches {
		for _, l := range m.levels {
			cost, gap := m.batch(l.work)
			m.mu.Lock()
			l.cost.add(cost)
			l.gaps.add(gap)
			m.mu.Unlock()
		}
		if _, err := m.tracer.Read(time.Now(), func(event.Event) {}); err != nil {
			return err
		}
	}
	return nil
}

// batch returns what a hit costs, and how long the work before each takes, in ns. The
// cost is the difference between two runs, of which either comes first every other time.
func (m *Meter) batch(before func()) (cost, gap float64) {
	m.turn = !m.turn
	var traced, bare int64
	if m.turn {
		bare = m.bare(before)
		traced = m.traced(before)
	} else {
		traced = m.traced(before)
		bare = m.bare(before)
	}
	return float64(traced-bare) / (2 * pairsPerBatch), float64(bare) / (2 * pairsPerBatch)
}

// traced returns how long a run with hits takes in ns of CPU time.
func (m *Meter) traced(before func()) int64 {
	began := threadTime()
	for range pairsPerBatch {
		before()
		enter(&m.text[0])
		before()
		exit()
	}
	return threadTime() - began
}

// bare returns how long the same takes without hits.
func (m *Meter) bare(before func()) int64 {
	began := threadTime()
	for range pairsPerBatch {
		before()
		bareEnter(&m.text[0])
		before()
		bareExit()
	}
	return threadTime() - began
}

// threadTime is the CPU time of the calling thread in ns.
func threadTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // never fails
	return ts.Nano()
}

// Cost returns what is known: nothing as long as nothing has been measured.
func (m *Meter) Cost() (c Cost) {
	m.mu.Lock()
	defer m.mu.Unlock()
	least := time.Duration(0)
	for _, l := range m.levels {
		least = max(l.cost.median(), least)
		if least <= 0 {
			return nil
		}
		c = append(c, Point{Gap: l.gaps.median(), Cost: least}) // colder is never cheaper
	}
	return c
}

// Close removes the probes.
func (m *Meter) Close() error { return m.tracer.Close() }
