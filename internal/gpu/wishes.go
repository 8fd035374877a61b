// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"slices"
	"sync"
)

// maxWishes bounds the moments that are remembered. Of more, those furthest ahead
// are dropped: they only make reads come closer to boundaries.
const maxWishes = 64

// wishes are the moments for which reads are wanted, for all devices.
type wishes struct {
	mu    sync.Mutex
	times []int64 // ns, CLOCK_MONOTONIC, rising
}

// add adds a moment; those before now are forgotten.
func (w *wishes) add(t, now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.times == nil {
		w.times = make([]int64, 0, maxWishes+1)
	}
	past, _ := slices.BinarySearch(w.times, now)
	w.times = slices.Delete(w.times, 0, past)
	i, there := slices.BinarySearch(w.times, t)
	if there {
		return
	}
	w.times = slices.Insert(w.times, i, t)
	w.times = w.times[:min(len(w.times), maxWishes)]
}

// next returns the first moment after t, never if there is none.
func (w *wishes) next(t int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, _ := slices.BinarySearch(w.times, t+1); i < len(w.times) {
		return w.times[i]
	}
	return never
}
