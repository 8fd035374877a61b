// SPDX-License-Identifier: Apache-2.0

package await

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReturns(t *testing.T) {
	bad := errors.New("bad")
	if v, err := Do(t.Context(), func(context.Context) (int, error) { return 7, nil }, nil); v != 7 || err != nil {
		t.Errorf("%d, %v; want 7", v, err)
	}
	dropped := func(int) { t.Error("the value of a call that was waited for was dropped") }
	if v, err := Do(t.Context(), func(context.Context) (int, error) { return 8, bad }, dropped); v != 8 || err != bad {
		t.Errorf("%d, %v; want 8 and the call's error", v, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Do(over, func(context.Context) (int, error) { t.Error("begun after its time was over"); return 0, nil }, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the context is over", err)
	}
}

// Calls that hang are given up, counted, bounded, and forgotten once they
// return; what they return goes to drop.
func TestGivesUp(t *testing.T) {
	answer := make(chan error)
	var dropped sync.WaitGroup
	for n := range Max {
		ctx, cancel := context.WithCancel(t.Context())
		begun := make(chan struct{})
		go func() { <-begun; cancel() }()
		if n%2 == 0 {
			dropped.Add(1)
		}
		_, err := Do(ctx, func(context.Context) (int, error) {
			close(begun)
			if err := <-answer; n%2 != 0 {
				return 0, err
			}
			return n, nil
		}, func(int) { dropped.Done() })
		if !errors.Is(err, context.Canceled) || Left() != n+1 {
			t.Fatalf("call %d: %v, %d left; want that the context is over, and %d", n, err, Left(), n+1)
		}
	}
	if _, err := Do(t.Context(), func(context.Context) (int, error) { return 0, nil }, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("with %d calls left: %v, want ErrBusy", Left(), err)
	}
	for range Max {
		answer <- errors.New("late")
	}
	dropped.Wait()
	for Left() > 0 { // the last step of goroutines that were told to end
		runtime.Gosched()
	}
	if v, err := Do(t.Context(), func(context.Context) (int, error) { return 9, nil }, nil); v != 9 || err != nil {
		t.Errorf("after all have returned: %d, %v; want 9", v, err)
	}
}
