// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/phasetrace/phasetrace/bpf"
)

// Limits of aggregation in the kernel, in numbers of bpf/aggregate.h.
const (
	MaxAggregateSites = 8192
	MaxAggregatePairs = 64
	MaxAggregateDepth = 64   // scopes open on one thread
	MaxAggregatePaths = 4095 // of all processes together, one for each process included
	MaxAggregateName  = 255  // bytes kept of a name

	aggregateNodes   = 2 * (MaxAggregatePaths + 1)
	aggregateOctaves = 64
)

// AggregateSub is the number of buckets to an octave: those of internal/figures'
// histograms.
const AggregateSub = 32

// Literal says what a path is called when it is not by the bytes of a name.
type Literal uint16

// The literals that are no pair.
const (
	LiteralNone       Literal = 0
	LiteralNull       Literal = 0x100
	LiteralUnreadable Literal = 0x101
	LiteralEmpty      Literal = 0x102
	literalProcess    Literal = 0x103
)

// LiteralOf is the literal of a pair, by its AggregateSite.Pair.
func LiteralOf(pair uint8) Literal { return 1 + Literal(pair) }

// Pair returns the pair that a literal stands for.
func (l Literal) Pair() (pair uint8, ok bool) {
	return uint8(l - 1), l >= 1 && l <= MaxAggregatePairs
}

// NameSource says where an enter's name is.
type NameSource uint8

// The sources of a name.
const (
	NameLiteral = NameSource(iota) // AggregateSite.Literal
	NameString                     // a slot holds the address of a C string
	NameBytes                      // a slot holds an address, the next one a length in bytes
)

// AggregateSite says how hits of a site are counted.
type AggregateSite struct {
	Site  uint32 // Site.ID
	Role  probe.Effect
	Lane  uint8 // 0 to MaxLanes-1
	Pair  uint8 // 0 to MaxAggregatePairs-1
	Token bool  // capture 0 is the scope's token
	// Name and NameSlot are for enters; their captures have type CaptureInt.
	Name     NameSource
	NameSlot uint8
	Literal  Literal // LiteralNone when Name says otherwise
	// Stale are the pairs, a bit each, that cannot be open when this one is
	// entered. Over makes it a reset site: the pairs that cannot be open when
	// it is hit.
	Stale, Over uint64
	// Gate, in ns CLOCK_MONOTONIC: earlier hits are ignored. Since, in ns since
	// boot: exits of older threads may belong to enters nobody saw.
	Gate  int64
	Since uint64
	// Constant is memory of the site's own file that is mapped read-only: a name
	// there is read once. Unused ones are empty.
	Constant [2]RelativeRange
}

// RelativeRange is a range of addresses, relative to a site's and modulo 2^64.
type RelativeRange struct{ Low, Len uint64 }

// Counts is what the kernel counts with Options.Aggregate. Its methods may be
// called while the tracer reads and attaches.
type Counts struct {
	maps map[string]*ebpf.Map
	end  *aggregateEnd
}

// aggregateEnd is what tells the programs which hits count.
type aggregateEnd struct {
	mu sync.Mutex
	bpf.PhasetraceAggregateEnd
}

// Counts returns what the kernel counts; it is good until Close.
func (t *Tracer) Counts() *Counts { return &Counts{t.maps, &t.end} }

// PutSites says how hits of sites are counted. Those that are new begin to count
// all at the same moment, so that their enters and exits go together.
func (c *Counts) PutSites(sites []AggregateSite) error {
	c.end.mu.Lock()
	defer c.end.mu.Unlock()
	for _, s := range sites {
		if s.Site >= MaxAggregateSites {
			return fmt.Errorf("aggregate: more than %d sites: trace fewer pairs", MaxAggregateSites)
		}
		err := c.change(s.Site, func(raw *bpf.PhasetraceAggregateSite) { s.fill(raw, c.end.Changes+1) })
		if err != nil {
			return err
		}
	}
	if err := c.changed(); err != nil {
		return err
	}
	return c.settle(sites)
}

// settle tells since when all hits of sites have counted: an exit inside a phase
// from before may belong to an enter that did not.
func (c *Counts) settle(sites []AggregateSite) error {
	now := uint64(clock.Monotonic())
	for _, s := range sites {
		err := c.change(s.Site, func(raw *bpf.PhasetraceAggregateSite) {
			if raw.Settled == 0 {
				raw.Settled = now
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fill writes a site as the programs read it. What they have written themselves,
// and since when it counts, stays.
func (s *AggregateSite) fill(raw *bpf.PhasetraceAggregateSite, change uint32) {
	raw.Gate, raw.Since, raw.Stale, raw.Over = uint64(s.Gate), s.Since, s.Stale, s.Over
	raw.Literal, raw.Pair, raw.Lane, raw.Role = uint16(s.Literal), s.Pair, s.Lane, uint8(s.Role)
	raw.Token, raw.Name, raw.NameSlot = boolByte(s.Token), uint8(s.Name), s.NameSlot
	for i, r := range s.Constant {
		raw.Constant[i].Low, raw.Constant[i].Len = r.Low, r.Len
	}
	if raw.Arrival == 0 {
		raw.Arrival = change
	}
}

// RemoveSites makes hits of sites count no more, from one moment on. What was
// entered there is over.
func (c *Counts) RemoveSites(sites []uint32) error {
	c.end.mu.Lock()
	defer c.end.mu.Unlock()
	for _, id := range sites {
		err := c.change(id, func(raw *bpf.PhasetraceAggregateSite) {
			if raw.Removal == 0 {
				raw.Removal = c.end.Changes + 1
			}
		})
		if err != nil {
			return err
		}
	}
	return c.changed()
}

// change changes what the programs know of a site.
func (c *Counts) change(site uint32, how func(*bpf.PhasetraceAggregateSite)) error {
	var raw bpf.PhasetraceAggregateSite
	m := c.maps[bpf.PhasetraceMapAggSites]
	if err := m.Lookup(site, &raw); err != nil {
		return fmt.Errorf("aggregate: read site %d: %w", site, err)
	}
	how(&raw)
	if err := m.Put(site, raw); err != nil {
		return fmt.Errorf("aggregate: set site %d: %w", site, err)
	}
	return nil
}

// changed makes the changes of sites good, all at once. The end is locked.
func (c *Counts) changed() error {
	c.end.Changes++
	return c.putEnd()
}

func (c *Counts) putEnd() error {
	if err := c.maps[bpf.PhasetraceMapAggEnd].Put(uint32(0), c.end.PhasetraceAggregateEnd); err != nil {
		return fmt.Errorf("aggregate: set which hits count: %w", err)
	}
	return nil
}

// SiteHit reports whether a site has been hit, within its gate.
func (c *Counts) SiteHit(site uint32) (bool, error) {
	var s bpf.PhasetraceAggregateSite
	if err := c.maps[bpf.PhasetraceMapAggSites].Lookup(site, &s); err != nil {
		return false, fmt.Errorf("aggregate: read site %d: %w", site, err)
	}
	return s.Hit != 0, nil
}

// Until makes hits count up to a time, in ns CLOCK_MONOTONIC;
// math.MaxInt64 is forever. At first none do.
func (c *Counts) Until(time int64) error {
	c.end.mu.Lock()
	defer c.end.mu.Unlock()
	c.end.Until = uint64(time)
	return c.putEnd()
}

// aggregateMap reports whether only aggregation needs a map.
func aggregateMap(name string) bool { return strings.HasPrefix(name, "agg_") }

// prepareAggregate fits the maps and constants of the programs to the mode.
// Aggregation takes about 17 MiB of kernel memory, whatever the number of CPUs.
func (t *Tracer) prepareAggregate() error {
	if !t.opts.Aggregate {
		maps.DeleteFunc(t.spec.Maps, func(name string, _ *ebpf.MapSpec) bool { return aggregateMap(name) })
		return nil
	}
	return t.setVariables(map[string]any{
		bpf.PhasetraceVarAggregateReject: boolByte(t.opts.AggregateReject),
	})
}

// markerName is the program that serves sites.
func (t *Tracer) markerName() string {
	if t.opts.Aggregate {
		return bpf.PhasetraceProgMarkerAggregate
	}
	return bpf.PhasetraceProgMarker
}

// watchThreads closes what the old program had open at an exec, and reuses the
// memory of threads that end.
func (t *Tracer) watchThreads() error {
	if !t.opts.Aggregate || t.opts.MarkersOnly {
		return nil
	}
	programs, _, err := t.loadPrograms(nil, bpf.PhasetraceProgAggregateExec, bpf.PhasetraceProgAggregateExit)
	if err != nil {
		return err
	}
	for name, p := range programs {
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		t.hooks = append(t.hooks, l)
	}
	return nil
}

// fits refuses what the programs of this mode have no room for.
func (t *Tracer) fits(s probe.Site) error {
	if !t.opts.Aggregate {
		return nil
	}
	for _, c := range s.Captures {
		if c.Type != probe.CaptureInt {
			return fmt.Errorf("plan site %d: no strings are captured with aggregation", s.ID)
		}
	}
	return nil
}
