// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/phasetrace/phasetrace/bpf"
)

// AggregateFigures are the figures of the ended scopes of one path. Those of
// different paths may be added.
type AggregateFigures struct {
	Entered    uint64 // scopes begun, ended or not
	Ended      uint64 // by the program itself; the rest is of these
	Unbucketed uint64 // of them: in no bucket
	Total      uint64 // ns
	Inner      uint64 // ns of Total spent in scopes directly inside
	Min, Max   uint64 // ns; meaningless while Ended is 0
	Octaves    [aggregateOctaves]*[AggregateSub]uint64
}

// Add adds the figures of other.
func (f *AggregateFigures) Add(other *AggregateFigures) {
	if other.Ended > 0 {
		if f.Ended == 0 || other.Min < f.Min {
			f.Min = other.Min
		}
		f.Max = max(f.Max, other.Max)
	}
	f.Entered += other.Entered
	f.Ended += other.Ended
	f.Unbucketed += other.Unbucketed
	f.Total += other.Total
	f.Inner += other.Inner
	for o, counts := range other.Octaves {
		if counts != nil {
			f.addOctave(o, counts)
		}
	}
}

func (f *AggregateFigures) addOctave(o int, counts *[AggregateSub]uint64) {
	if f.Octaves[o] == nil {
		f.Octaves[o] = new([AggregateSub]uint64)
	}
	for i, n := range counts {
		f.Octaves[o][i] += n
	}
}

// AggregateProcess is a process that has paths.
type AggregateProcess struct {
	StartTime uint64 // ns since boot
	HostPID   int
	PID       int // in phasetrace's own PID namespace, 0 if it has none there
}

// AggregatePath is a path of one process.
type AggregatePath struct {
	ID       uint32
	Parent   uint32 // ID of the parent; paths of 0 are processes
	Overflow bool   // stands for all names below the parent for which there was no room
	Literal  Literal
	Name     string // with LiteralNone
	Process  *AggregateProcess
	AggregateFigures
}

// AggregateDefect is a violation of strict nesting and how often it was seen.
type AggregateDefect struct {
	Process      uint32 // AggregatePath.ID
	Site         uint32 // of the exit
	Closing, Top uint32 // AggregatePath.ID of the scope that was to end and of the innermost one, 0 for none
	Kind         uint8  // as recorder.Kind
	Count        uint64
	// Of the first: times in ns CLOCK_MONOTONIC, thread ids.
	Time, ClosingStart, TopStart int64
	HostTID, TID                 int
	ThreadName                   string
}

// AggregateTotals count what is not of one path.
type AggregateTotals struct {
	Outside    uint64 // hits while probes were attached or detached
	Orphans    uint64
	Violations uint64
	Unclosed   uint64 // of the violations: those that ended no scope
	Unlisted   uint64 // of the violations: in no AggregateDefect
	TooDeep    uint64 // enters beyond MaxAggregateDepth
	DeepExits  uint64 // exits of those
	Resets     uint64 // hits of reset sites
	Late       uint64 // exits of scopes that a repair had closed
	BadNames   uint64 // null, empty or unreadable
	CutNames   uint64
}

// Aggregate is what has been counted. A reading is not a snapshot: counting goes
// on meanwhile. After Detach it is exact.
type Aggregate struct {
	Totals  AggregateTotals
	Paths   []AggregatePath // parents before children
	Defects []AggregateDefect
}

// Read reads everything that has been counted since Open.
func (c *Counts) Read() (*Aggregate, error) {
	var raw bpf.PhasetraceAggregateTotals
	if err := c.maps[bpf.PhasetraceMapAggTotals].Lookup(uint32(0), &raw); err != nil {
		return nil, fmt.Errorf("aggregate: read the totals: %w", err)
	}
	out := &Aggregate{Totals: AggregateTotals{
		Outside: raw.Outside, Orphans: raw.Orphans, Violations: raw.Violations, Unclosed: raw.Unclosed, Unlisted: raw.Unlisted,
		TooDeep: raw.TooDeep, DeepExits: raw.DeepExits, Resets: raw.Resets, Late: raw.Late,
		BadNames: raw.BadNames, CutNames: raw.CutNames,
	}}
	nodes := uint32(min(raw.Nodes, MaxAggregatePaths))
	var overflow []AggregatePath
	for id := uint32(0); id <= nodes; id++ {
		p, err := c.readPath(id)
		if err != nil {
			return nil, err
		}
		if p != nil {
			out.Paths = append(out.Paths, *p)
		}
		rest := AggregatePath{ID: MaxAggregatePaths + 1 + id, Parent: id, Overflow: true}
		if err := c.readFigures(&rest); err != nil {
			return nil, err
		}
		if rest.Entered > 0 {
			overflow = append(overflow, rest)
		}
	}
	out.Paths = append(out.Paths, overflow...)
	return out, c.readDefects(out)
}

// readPath reads a node with a name; nil if there is none of that number.
func (c *Counts) readPath(id uint32) (*AggregatePath, error) {
	var node bpf.PhasetraceAggregateNode
	if err := c.maps[bpf.PhasetraceMapAggNodes].Lookup(id, &node); err != nil {
		return nil, fmt.Errorf("aggregate: read path %d: %w", id, err)
	}
	if node.Ready == 0 {
		return nil, nil
	}
	p := &AggregatePath{ID: id, Parent: node.Key.Parent, Literal: Literal(node.Key.Literal)}
	name := unsafe.Slice((*byte)(unsafe.Pointer(&node.Key.Name)), unsafe.Sizeof(node.Key.Name))
	if p.Literal == literalProcess {
		p.Literal, p.Process = LiteralNone, processOf(&node.Key)
		return p, nil
	}
	p.Name = string(name[:min(int(node.Key.Len), len(name))])
	return p, c.readFigures(p)
}

func processOf(key *bpf.PhasetraceAggregateKey) *AggregateProcess {
	return &AggregateProcess{
		StartTime: key.Name[0], HostPID: int(uint32(key.Name[1])), PID: int(key.Name[1] >> 32),
	}
}

// readFigures adds up the cells of a path.
func (c *Counts) readFigures(p *AggregatePath) error {
	if err := c.readCell(p, p.ID); err != nil {
		return err
	}
	var index bpf.PhasetraceAggregateIndex
	if err := c.maps[bpf.PhasetraceMapAggIndex].Lookup(p.ID, &index); err != nil {
		return fmt.Errorf("aggregate: read path %d: %w", p.ID, err)
	}
	for _, cell := range index.Cell {
		if cell == 0 {
			continue
		}
		if err := c.readCell(p, cell); err != nil {
			return err
		}
	}
	return nil
}

func (c *Counts) readCell(p *AggregatePath, id uint32) error {
	var cell bpf.PhasetraceAggregateCell
	if err := c.maps[bpf.PhasetraceMapAggCells].Lookup(id, &cell); err != nil {
		return fmt.Errorf("aggregate: read figures: %w", err)
	}
	f := AggregateFigures{
		Entered: cell.Entered, Ended: cell.Unbucketed, Unbucketed: cell.Unbucketed,
		Total: cell.Total, Inner: cell.Inner, Min: ^cell.Low, Max: cell.Max,
	}
	for o, block := range cell.Block {
		if block == 0 {
			continue
		}
		var counts bpf.PhasetraceAggregateBlock
		if err := c.maps[bpf.PhasetraceMapAggBlocks].Lookup(block, &counts); err != nil {
			return fmt.Errorf("aggregate: read a histogram: %w", err)
		}
		f.Octaves[o] = &counts.N
		for _, n := range counts.N {
			f.Ended += n
		}
	}
	p.Add(&f)
	return nil
}

func (c *Counts) readDefects(out *Aggregate) error {
	var key bpf.PhasetraceAggregateDefectKey
	var d bpf.PhasetraceAggregateDefect
	it := c.maps[bpf.PhasetraceMapAggDefects].Iterate()
	for it.Next(&key, &d) {
		comm := unsafe.Slice((*byte)(unsafe.Pointer(&d.Comm)), len(d.Comm))
		name, _, _ := strings.Cut(string(comm), "\x00")
		out.Defects = append(out.Defects, AggregateDefect{
			Process: key.Root, Site: key.Site, Closing: key.Closing, Top: key.Top, Kind: uint8(key.Kind),
			Count: d.Count, Time: int64(d.Time), ClosingStart: int64(d.ClosingStart), TopStart: int64(d.TopStart),
			HostTID: int(d.Tid), TID: int(d.ViewTid), ThreadName: name,
		})
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("aggregate: read the violations: %w", err)
	}
	return nil
}
