// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"errors"
	"fmt"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

func Example() {
	r := recorder.New(recorder.Limits{})
	k := recorder.Key{SessionID: "s1", ThreadID: 4243}
	train, _, _ := r.Enter(k, "worker", "train", nil)
	step, b, _ := r.Enter(k, "worker", "step", []byte(`{"epoch":1}`))
	fmt.Println(b.Context(), b.ScopeID())

	if _, err := r.Exit(train, 4243); errors.Is(err, recorder.NotLIFO) {
		fmt.Println(err)
	}
	b, _ = r.Exit(step, 4243)
	fmt.Println(b.Context(), b.Sequence)
	// Output:
	// Phase entered: train / step s1:2
	// exit phase "train" (scope s1:1) on thread 4243: not the innermost phase of this thread, which is "train / step" (scope s1:2): close that one first
	// Phase exited: train / step 3
}

// A stack is resolved once; a batch of records is one lock.
func ExampleRecorder_Acquire() {
	r := recorder.New(recorder.Limits{})
	batch := r.Acquire()
	defer r.Release()
	s := batch.Stack(recorder.Key{SessionID: "s1", ThreadID: 7})
	for range 3 {
		if _, _, err := s.Enter("worker", []byte("step"), nil); err != nil {
			fmt.Println(err)
		}
	}
	for top, ok := s.Top(); ok; top, ok = s.Top() {
		b, _ := s.Exit(top)
		fmt.Println(b.Sequence, b.Path)
	}
	// Output:
	// 4 step / step / step
	// 5 step / step
	// 6 step
}
