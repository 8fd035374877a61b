// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"cmp"
	"slices"
	"sync"
)

// queue hands values from readers to one taker. It is bounded: when nobody
// takes, the oldest half is dropped and counted. The lock is held for the time
// of a copy only.
type queue[T any] struct {
	mu      sync.Mutex
	values  []T
	limit   int
	dropped uint64
}

func (q *queue[T]) put(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.values) >= q.limit {
		half := (len(q.values) + 1) / 2
		q.dropped += uint64(half)
		q.values = append(q.values[:0], q.values[half:]...)
	}
	q.values = append(q.values, v)
}

// take appends all values to dst and forgets them.
func (q *queue[T]) take(dst []T) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	dst = append(dst, q.values...)
	q.values = q.values[:0]
	return dst
}

func (q *queue[T]) droppedCount() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Take appends the samples that came since the last Take to dst and returns it:
// ordered by Mid within one call, and over all calls for each device. It never
// waits for a read and allocates only when dst is too small. One goroutine at a
// time.
func (s *Sampler) Take(dst []Sample) []Sample {
	n := len(dst)
	dst = s.samples.take(dst)
	slices.SortStableFunc(dst[n:], func(a, b Sample) int { return cmp.Compare(a.Mid, b.Mid) })
	return dst
}

// TakeProcesses is Take for what the process lists said about the PIDs given to
// [Sampler.SetPIDs].
func (s *Sampler) TakeProcesses(dst []ProcessSample) []ProcessSample {
	n := len(dst)
	dst = s.lists.take(dst)
	slices.SortStableFunc(dst[n:], func(a, b ProcessSample) int { return cmp.Compare(a.Mid, b.Mid) })
	return dst
}
