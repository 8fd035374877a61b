// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"math"
	"math/bits"
	"slices"
)

// A histogram's buckets are 32 to an octave: a quantile is within half a
// bucket, 1.6 %, of the exact one.
const (
	subBits    = 5
	subBuckets = 1 << subBits
	octaves    = 64 - subBits + 1
)

// maxBlocks bounds the blocks of all histograms of a session together: 32 MiB.
const maxBlocks = 1 << 17

// block counts the durations of one octave.
type block [subBuckets]uint64

// maxFew is up to how many values a histogram keeps each by itself: quantiles of
// few values are exact.
const maxFew = 32

// histogram counts durations in ns. Octaves take memory when they are first
// used; a phase whose durations spread over four octaves takes 1.4 KiB.
type histogram struct {
	place  [octaves]uint8 // of an octave's block, from 1; 0: it has none
	blocks []*block
	n      uint64
	few    []uint64 // all values, while they are few and known; else it is shorter than n
}

// bucketOf returns the octave and place of a value. Values below subBuckets
// are counted exactly, in octave 0.
func bucketOf(v uint64) (octave, place int) {
	octave = bits.Len64(v >> subBits) // 0 for v < subBuckets
	if octave == 0 {
		return 0, int(v)
	}
	return octave, int(v>>(octave-1)) & (subBuckets - 1)
}

// bucketMiddle returns the value that stands for a bucket.
func bucketMiddle(octave, place int) uint64 {
	if octave == 0 {
		return uint64(place)
	}
	low := uint64(subBuckets+place) << (octave - 1)
	return low + uint64(1)<<(octave-1)/2
}

// add counts a duration; blocks is what is left of maxBlocks. It returns false
// when there was no room.
func (h *histogram) add(v uint64, blocks *int) bool {
	o, p := bucketOf(v)
	if h.place[o] == 0 {
		if *blocks == 0 {
			return false
		}
		*blocks--
		h.blocks = append(h.blocks, new(block))
		h.place[o] = uint8(len(h.blocks))
	}
	h.blocks[h.place[o]-1][p]++
	if h.n++; h.n <= maxFew {
		h.few = append(h.few, v)
	}
	return true
}

// take makes counts the block of an octave without one.
func (h *histogram) take(octave int, counts *block) {
	h.blocks = append(h.blocks, counts)
	h.place[octave] = uint8(len(h.blocks))
	for _, n := range counts {
		h.n += n
	}
}

// quantile returns the smallest value that at least the share q of all do not
// exceed (the nearest rank): one of the values while they are few, else the middle
// of its bucket. Of no values it is 0.
func (h *histogram) quantile(q float64) uint64 {
	if h.n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.n)))
	rank = min(max(rank, 1), h.n) - 1
	if uint64(len(h.few)) == h.n {
		sorted := slices.Clone(h.few)
		slices.Sort(sorted)
		return sorted[rank]
	}
	var seen uint64
	for o, place := range h.place {
		if place == 0 {
			continue
		}
		for p, c := range h.blocks[place-1] {
			if seen += c; seen > rank {
				return bucketMiddle(o, p)
			}
		}
	}
	return 0
}

// merge adds the counts of another histogram, and returns how many it had no
// room for.
func (h *histogram) merge(other *histogram, blocks *int) (unsorted uint64) {
	if uint64(len(h.few)) == h.n && uint64(len(other.few)) == other.n && h.n+other.n <= maxFew {
		h.few = append(h.few, other.few...)
	}
	for o, place := range other.place {
		if place == 0 {
			continue
		}
		counts := other.blocks[place-1]
		if h.place[o] == 0 {
			if *blocks == 0 {
				for _, n := range counts {
					unsorted += n
				}
				continue
			}
			*blocks--
			h.blocks = append(h.blocks, new(block))
			h.place[o] = uint8(len(h.blocks))
		}
		mine := h.blocks[h.place[o]-1]
		for i, n := range counts {
			mine[i] += n
			h.n += n
		}
	}
	return unsorted
}
