// SPDX-License-Identifier: Apache-2.0

package trace

import "math/bits"

// A histogram's buckets are 32 to an octave: a quantile is within half a
// bucket, 1.6 %, of the exact one.
const (
	subBits    = 5
	subBuckets = 1 << subBits
	octaves    = 64 - subBits
)

// histogram counts durations in ns. Octaves take memory when they are first
// used; a phase whose durations spread over four octaves takes 1.5 KiB.
type histogram struct {
	octave [octaves]*[subBuckets]uint64
	n      uint64
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

func (h *histogram) add(v uint64) {
	o, p := bucketOf(v)
	if h.octave[o] == nil {
		h.octave[o] = new([subBuckets]uint64)
	}
	h.octave[o][p]++
	h.n++
}

// quantile returns the value below which the share q of all lies.
func (h *histogram) quantile(q float64) uint64 {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q * float64(h.n))
	if rank >= h.n {
		rank = h.n - 1
	}
	var seen uint64
	for o, counts := range h.octave {
		if counts == nil {
			continue
		}
		for p, c := range counts {
			if seen += c; seen > rank {
				return bucketMiddle(o, p)
			}
		}
	}
	return 0
}
