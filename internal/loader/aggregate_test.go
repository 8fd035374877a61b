// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAggregateFiguresAdd(t *testing.T) {
	bucket := func(place int, n uint64) *[AggregateSub]uint64 {
		var b [AggregateSub]uint64
		b[place] = n
		return &b
	}
	a := AggregateFigures{Entered: 3, Ended: 2, Total: 40, Inner: 5, Min: 10, Max: 30}
	a.Octaves[0] = bucket(10, 1)
	b := AggregateFigures{Entered: 1, Ended: 1, Total: 7, Min: 7, Max: 7, Unbucketed: 1}
	b.Octaves[0], b.Octaves[3] = bucket(10, 2), bucket(1, 1)
	open := AggregateFigures{Entered: 1} // has no durations, and so no shortest one
	var sum AggregateFigures
	for _, f := range []AggregateFigures{open, a, b, open} {
		sum.Add(&f)
	}
	want := AggregateFigures{Entered: 6, Ended: 3, Unbucketed: 1, Total: 47, Inner: 5, Min: 7, Max: 30}
	want.Octaves[0], want.Octaves[3] = bucket(10, 3), bucket(1, 1)
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Error(diff)
	}
	if a.Octaves[0][10] != 1 {
		t.Error("adding changed what was added")
	}
}

func TestLiterals(t *testing.T) {
	for _, pair := range []uint8{0, 1, MaxAggregatePairs - 1} {
		if got, ok := LiteralOf(pair).Pair(); got != pair || !ok {
			t.Errorf("literal of pair %d is pair %d, %v", pair, got, ok)
		}
	}
	for _, l := range []Literal{LiteralNone, LiteralNull, LiteralUnreadable, LiteralEmpty, literalProcess} {
		if pair, ok := l.Pair(); ok {
			t.Errorf("literal %d is pair %d, want none", l, pair)
		}
	}
}
