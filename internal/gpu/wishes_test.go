// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestWishes(t *testing.T) {
	var w wishes
	if w.next(0) != never {
		t.Error("a wish that nobody made")
	}
	for _, at := range []int64{50, 30, 40, 30} {
		w.add(at, 10)
	}
	for _, tt := range []struct{ after, want int64 }{{0, 30}, {29, 30}, {30, 40}, {45, 50}, {50, never}} {
		if got := w.next(tt.after); got != tt.want {
			t.Errorf("after %d: %d, want %d", tt.after, got, tt.want)
		}
	}
	w.add(60, 40)
	if got := w.next(0); got != 40 {
		t.Errorf("what is past is kept: %d", got)
	}
	for i := range int64(1000) {
		w.add(2000-i, 40)
	}
	if len(w.times) != maxWishes || w.next(60) != 1001 {
		t.Errorf("%d wishes kept, the next %d", len(w.times), w.next(60))
	}
	if n := testing.AllocsPerRun(100, func() { w.add(1000, 40); w.next(50) }); n != 0 {
		t.Errorf("a wish allocates %v times", n)
	}
}

// A read that is wanted comes at its time, unless one has just been made or the
// budget is spent.
func TestExpect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake(2)
		f.SetDelay(0, readCost)
		s, _ := startFake(f, Options{})
		defer closeSampler(t, s)
		pass(time.Second)
		for i := range 100 {
			s.Take(nil)
			at := bubbleNow() + int64(30*time.Millisecond+time.Duration(i)*time.Microsecond)
			s.Expect(at + int64(time.Hour))
			s.Expect(at)
			s.Expect(at - int64(time.Hour)) // too late
			pass(50 * time.Millisecond)
			if !slices.ContainsFunc(s.Take(nil), func(x Sample) bool { return x.Start == at }) {
				t.Fatalf("%d: no read began when it was wanted", i)
			}
		}
		spent := s.Stats().Spent()
		for range 1000 { // far more than the budget allows
			s.Expect(bubbleNow() + int64(100*time.Microsecond))
			pass(100 * time.Microsecond)
		}
		if got := s.Stats().Spent() - spent; got > int64(4*time.Millisecond) {
			t.Errorf("%v in calls within 100 ms", time.Duration(got))
		}
	})
}
