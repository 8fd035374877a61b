// SPDX-License-Identifier: Apache-2.0

package hitcost

import (
	"slices"
	"time"
)

// Cost is what a hit costs, in CPU time of the program that is traced.
type Cost struct {
	Hot  time.Duration // in a loop that does nothing else
	Cold time.Duration // in a program that works between hits
}

// coldGap is how much CPU time between two hits makes them cold. Most of what a hit
// finds in the caches is the kernel's own few kilobytes, which any real work evicts.
const coldGap = time.Microsecond

// At returns what one hit cost a program that had a number of hits in an amount of
// CPU time, theirs included.
func (c Cost) At(hits uint64, cpu time.Duration) time.Duration {
	if hits == 0 || cpu <= 0 {
		return c.Cold
	}
	each := float64(cpu) / float64(hits)
	// gap = each − cost and cost = Hot + (Cold − Hot)·gap/coldGap.
	slope := float64(c.Cold-c.Hot) / float64(coldGap)
	cost := (float64(c.Hot) + slope*each) / (1 + slope)
	return min(max(time.Duration(cost), c.Hot), max(c.Cold, c.Hot))
}

// maxKept bounds the differences that are kept of each kind, the latest ones.
const maxKept = 1 << 10

// differences are what hits cost in each batch, in ns. Other work on the machine
// disturbs one batch or the other, so single ones may be anything, even negative;
// their median is the figure.
type differences struct {
	ns   []float64
	next int
}

func (d *differences) add(ns float64) {
	if len(d.ns) < maxKept {
		d.ns = append(d.ns, ns)
		return
	}
	d.ns[d.next] = ns
	d.next = (d.next + 1) % maxKept
}

// median is the median, 0 of none.
func (d *differences) median() time.Duration {
	if len(d.ns) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d.ns))
	n := len(sorted)
	return time.Duration((sorted[(n-1)/2] + sorted[n/2]) / 2)
}
