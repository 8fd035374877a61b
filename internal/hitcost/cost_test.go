// SPDX-License-Identifier: Apache-2.0

package hitcost

import (
	"testing"
	"time"
)

// The cost of a hit follows from what lies between two of them, which is what is left
// of the time: little in a loop of nothing, more after more work, and no more than after
// the most that was measured.
func TestAt(t *testing.T) {
	c := Cost{{0, 500}, {10_000, 900}, {100_000, 1300}}
	for _, tc := range []struct {
		name string
		hits uint64
		cpu  time.Duration
		want time.Duration
	}{
		{"nothing is known of the process", 0, 0, 1300},
		{"no CPU time is known", 10, 0, 1300},
		{"hits and nothing else", 1000, 500 * 1000, 500},
		{"less than its hits cost: the clock is coarse", 1000, 1000, 500},
		{"a microsecond between hits, half the way to ten", 1000, (1000 + 700) * 1000, 700},
		{"ten microseconds between hits", 1000, (10_000 + 900) * 1000, 900},
		{"a long time between hits", 3, time.Second, 1300},
	} {
		if got := c.At(tc.hits, tc.cpu); got < tc.want-1 || got > tc.want+1 {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	if got := (Cost)(nil).At(1, 1); got != 0 {
		t.Errorf("%v, and nothing is known", got)
	}
}

// One batch in three may be disturbed, in either direction.
func TestMedian(t *testing.T) {
	var d figures
	if d.median() != 0 {
		t.Errorf("median of nothing: %v", d.median())
	}
	for range maxKept {
		d.add(100) // the ones that others take the place of
	}
	for i := range maxKept {
		switch i % 6 {
		case 0:
			d.add(-5000)
		case 1:
			d.add(90000)
		default:
			d.add(600)
		}
	}
	if d.median() != 600 || len(d.ns) != maxKept {
		t.Errorf("median %v of %d, want 600 of %d", d.median(), len(d.ns), maxKept)
	}
}

func TestWorkDoesNotAllocate(t *testing.T) {
	w := newWork()
	if n := testing.AllocsPerRun(500, w.do); n != 0 {
		t.Errorf("%v allocations: the garbage collector would run between hits", n)
	}
}
