// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"

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
	// Name and NameSlot tell of enters; the captures are of type CaptureInt.
	Name     NameSource
	NameSlot uint8
	Literal  Literal // LiteralNone when Name says otherwise
	// Stale are the pairs, a bit each, that cannot be open when this one is
	// entered. Over makes it a reset site: the pairs that cannot be open when
	// it is hit.
	Stale, Over uint64
	// Gate, in ns CLOCK_MONOTONIC: hits from before are passed over; 0: all
	// are. Since, in ns
	// since boot: exits of older threads may belong to enters nobody saw.
	Gate  int64
	Since uint64
	// Constant is memory of the site's own file that is mapped read-only: a name
	// there is read once. Unused ones are empty.
	Constant [2]RelativeRange
}

// RelativeRange is a range of addresses, relative to a site's and modulo 2^64.
type RelativeRange struct{ Low, Len uint64 }

// PutAggregateSite says how hits of a site are counted, from now on.
func (t *Tracer) PutAggregateSite(s AggregateSite) error {
	if s.Site >= MaxAggregateSites {
		return fmt.Errorf("aggregate: more than %d sites: trace fewer pairs with --pair", MaxAggregateSites)
	}
	var old bpf.PhasetraceAggregateSite
	m := t.maps[bpf.PhasetraceMapAggSites]
	if err := m.Lookup(s.Site, &old); err != nil {
		return fmt.Errorf("aggregate: read site %d: %w", s.Site, err)
	}
	raw := bpf.PhasetraceAggregateSite{
		Gate: uint64(s.Gate), Since: s.Since, Stale: s.Stale, Over: s.Over,
		Literal: uint16(s.Literal), Pair: s.Pair, Lane: s.Lane, Role: uint8(s.Role),
		Token: boolByte(s.Token), Name: uint8(s.Name), NameSlot: s.NameSlot, Hit: old.Hit, Removal: old.Removal,
	}
	for i, r := range s.Constant {
		raw.Constant[i].Low, raw.Constant[i].Len = r.Low, r.Len
	}
	if err := m.Put(s.Site, raw); err != nil {
		return fmt.Errorf("aggregate: set site %d: %w", s.Site, err)
	}
	return nil
}

// AggregateSiteHit reports whether a site has been hit, within its gate.
func (t *Tracer) AggregateSiteHit(site uint32) (bool, error) {
	var s bpf.PhasetraceAggregateSite
	if err := t.maps[bpf.PhasetraceMapAggSites].Lookup(site, &s); err != nil {
		return false, fmt.Errorf("aggregate: read site %d: %w", site, err)
	}
	return s.Hit != 0, nil
}

// AggregateUntil makes hits count up to a time, in ns CLOCK_MONOTONIC;
// math.MaxInt64 is forever. At first none do.
func (t *Tracer) AggregateUntil(time int64) error {
	t.end.mu.Lock()
	defer t.end.mu.Unlock()
	t.end.Until = uint64(time)
	return t.putEnd()
}

// AggregateRemove makes hits of sites be passed over from one moment on; what was
// entered there is over. It may be called by any goroutine.
func (t *Tracer) AggregateRemove(sites []uint32) error {
	t.end.mu.Lock()
	defer t.end.mu.Unlock()
	m := t.maps[bpf.PhasetraceMapAggSites]
	for _, id := range sites {
		var s bpf.PhasetraceAggregateSite
		err := m.Lookup(id, &s)
		if err == nil && s.Removal == 0 {
			s.Removal = t.end.Removals + 1
			err = m.Put(id, s)
		}
		if err != nil {
			return fmt.Errorf("aggregate: remove site %d: %w", id, err)
		}
	}
	t.end.Removals++
	return t.putEnd()
}

// aggregateEnd is what the programs are told of what ends.
type aggregateEnd struct {
	mu sync.Mutex
	bpf.PhasetraceAggregateEnd
}

func (t *Tracer) putEnd() error {
	if err := t.maps[bpf.PhasetraceMapAggEnd].Put(uint32(0), t.end.PhasetraceAggregateEnd); err != nil {
		return fmt.Errorf("aggregate: set the end: %w", err)
	}
	return nil
}

// aggregateMap tells the maps that only aggregation needs.
func aggregateMap(name string) bool { return strings.HasPrefix(name, "agg_") }

// prepareAggregate fits the maps and constants of the programs to the mode.
// Aggregation takes about 17 MiB of kernel memory, whatever the number of CPUs.
func (t *Tracer) prepareAggregate() error {
	if !t.opts.Aggregate {
		maps.DeleteFunc(t.spec.Maps, func(name string, _ *ebpf.MapSpec) bool { return aggregateMap(name) })
		return nil
	}
	return t.setVariables(map[string]any{
		bpf.PhasetraceVarAggregateArm64:  boolByte(runtime.GOARCH == "arm64"),
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

// watchThreads makes execs end what the old program had open, and ends of
// threads make room for others.
func (t *Tracer) watchThreads() error {
	if !t.opts.Aggregate {
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

// fits refuses what the programs of the mode have no room for.
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
