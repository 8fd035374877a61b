// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

const (
	// chunkLen is how many records a chunk holds.
	chunkLen = 256
	// blockLen is how many records of one kind are allocated at once.
	blockLen = 32

	// What a chunk keeps of its arenas for its next use, in elements: enough for
	// a chunk full of usual records.
	keptAttributes = chunkLen * 1024
	keptReadings   = chunkLen * 16
	keptCandidates = chunkLen * 16
)

// chunk holds the copies of consecutive records. Only the goroutine that gives
// records writes to it; the sink's goroutine reads those that were published.
type chunk struct {
	first   uint64 // number of records[0] in the stream
	n       int    // of records
	records [chunkLen]Record
	next    *chunk
	bytes   int // what the records take, roughly

	boundaries pool[Boundary]
	samples    pool[Sample]
	violations pool[Violation]
	orphans    pool[Orphan]
	losses     pool[Loss]
	changes    pool[ProcessChange]
	pairs      pool[PairChange]
	drops      pool[Dropped]

	// What the records' slices hold.
	attributes arena[byte]
	gpu        arena[gpu.Reading]
	processGPU arena[gpu.ProcessReading]
	candidates arena[recorder.Active]
}

// Rough sizes in bytes, for the bound.
const (
	recordBytes    = 512
	readingBytes   = 272 // with that of the process
	candidateBytes = 96
)

// put appends a copy of a record, for which there must be room. It allocates only
// when the chunk has never held so much.
func (c *chunk) put(r Record) {
	c.bytes += recordBytes
	switch r := r.(type) {
	case *Boundary:
		b := c.boundaries.copy(r)
		b.Attributes, b.ExitAttributes = c.attributes.copy(r.Attributes), c.attributes.copy(r.ExitAttributes)
		b.GPU = c.gpu.copy(r.GPU)
		b.ProcessGPU = c.processGPU.copy(r.ProcessGPU)
		c.bytes += len(r.Attributes) + len(r.ExitAttributes) + len(r.GPU)*readingBytes
		c.add(b)
	case *Sample:
		s := c.samples.copy(r)
		s.Phase.Candidates = c.candidates.copy(r.Phase.Candidates)
		c.bytes += len(r.Phase.Candidates) * candidateBytes
		c.add(s)
	case *Violation:
		c.add(c.violations.copy(r))
	case *Orphan:
		c.add(c.orphans.copy(r))
	case *Loss:
		c.add(c.losses.copy(r))
	case *ProcessChange:
		c.add(c.changes.copy(r))
	case *PairChange:
		c.add(c.pairs.copy(r))
	case *Dropped:
		c.add(c.drops.copy(r))
	}
}

func (c *chunk) add(r Record) {
	c.records[c.n] = r
	c.n++
}

func (c *chunk) full() bool { return c.n == chunkLen }

// reuse empties a chunk that nobody reads any more.
func (c *chunk) reuse() {
	c.n, c.next, c.bytes = 0, nil, 0
	c.boundaries.used, c.samples.used, c.violations.used = 0, 0, 0
	c.orphans.used, c.losses.used, c.changes.used, c.drops.used = 0, 0, 0, 0
	c.pairs.used = 0
	c.attributes.reuse(keptAttributes)
	c.gpu.reuse(keptReadings)
	c.processGPU.reuse(keptReadings)
	c.candidates.reuse(keptCandidates)
}

// pool lends values that do not move; setting used to 0 frees them all.
type pool[T any] struct {
	blocks []*[blockLen]T
	used   int
}

// copy returns a copy of what r points to.
func (p *pool[T]) copy(r *T) *T {
	if p.used == len(p.blocks)*blockLen {
		p.blocks = append(p.blocks, new([blockLen]T))
	}
	t := &p.blocks[p.used/blockLen][p.used%blockLen]
	p.used++
	*t = *r
	return t
}

// arena lends room for slices.
type arena[T any] []T

// copy returns a copy of a slice, nil of nil. When the arena grows, slices it has
// lent stay where they are.
func (a *arena[T]) copy(s []T) []T {
	if s == nil {
		return nil
	}
	from := len(*a)
	*a = append(*a, s...)
	return (*a)[from:len(*a):len(*a)]
}

// reuse frees everything and keeps at most that many elements.
func (a *arena[T]) reuse(most int) {
	if cap(*a) > most {
		*a = nil
	}
	*a = (*a)[:0]
}
