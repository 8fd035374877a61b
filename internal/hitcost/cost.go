// SPDX-License-Identifier: Apache-2.0

package hitcost

import (
	"math"
	"slices"
	"time"
)

// Cost is what a hit costs in CPU time of the program that is traced, by how much the
// program does between two hits: points of a curve, from the smallest gap on. Without
// points nothing is known.
type Cost []Point

// Point is what a hit costs after some work of the program's own.
type Point struct {
	Gap, Cost time.Duration // CPU time
}

// leastGap is the gap below which everything is still in the nearest caches.
const leastGap = 100 * time.Nanosecond

// At returns what one hit cost a program that had a number of hits in an amount of CPU
// time, theirs included. Where that is not known, the gap is taken for large.
func (c Cost) At(hits uint64, cpu time.Duration) time.Duration {
	if len(c) == 0 {
		return 0
	}
	if hits == 0 || cpu <= 0 {
		return c[len(c)-1].Cost
	}
	each := time.Duration(float64(cpu) / float64(hits))
	// Of the two, cost and gap, only the sum is known. The sum grows with the gap.
	low, high := time.Duration(0), each
	for range 40 {
		gap := (low + high) / 2
		if gap+c.after(gap) > each {
			high = gap
		} else {
			low = gap
		}
	}
	return c.after(low)
}

// after is what a hit costs after a gap: in proportion to the logarithm between two
// points.
func (c Cost) after(gap time.Duration) time.Duration {
	gap = max(gap, leastGap)
	for i := 1; i < len(c); i++ {
		from, to := max(c[i-1].Gap, leastGap), max(c[i].Gap, leastGap)
		if gap < to {
			part := math.Log(float64(gap)/float64(from)) / math.Log(float64(to)/float64(from))
			return c[i-1].Cost + time.Duration(max(part, 0)*float64(c[i].Cost-c[i-1].Cost))
		}
	}
	return c[len(c)-1].Cost
}

// maxKept bounds the figures that are kept of each kind, the latest ones.
const maxKept = 1 << 10

// figures are what was measured in each batch, in ns. Other work on the machine disturbs
// one run or the other, so single ones may be anything, even negative; their median
// counts.
type figures struct {
	ns   []float64
	next int
}

func (d *figures) add(ns float64) {
	if len(d.ns) < maxKept {
		d.ns = append(d.ns, ns)
		return
	}
	d.ns[d.next] = ns
	d.next = (d.next + 1) % maxKept
}

// median is the median, 0 of none.
func (d *figures) median() time.Duration {
	if len(d.ns) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d.ns))
	n := len(sorted)
	return time.Duration((sorted[(n-1)/2] + sorted[n/2]) / 2)
}
