// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"fmt"
	"time"
)

// UnwrittenError says that a sink was given up at the end of the session, and
// what is missing from its output.
type UnwrittenError struct {
	Name      string        // of AsyncOptions
	After     time.Duration // for how long End has waited
	Counts    Counts        // what the sink did not take
	Unflushed uint64        // records that it took, and perhaps has not written
}

// Error says what is missing, and where.
func (e *UnwrittenError) Error() string {
	what := "the end is missing"
	if n := e.Counts.Total(); n > 0 {
		what = fmt.Sprintf("the last %d records and the end are missing", n)
	}
	if e.Unflushed > 0 {
		what += fmt.Sprintf(", and perhaps %d records before", e.Unflushed)
	}
	return fmt.Sprintf("write %s: no progress, given up after %v: %s: check its reader or its disk",
		e.Name, e.After, what)
}

// End hands over the rest and waits until the sink has taken it. The summary that
// the sink gets says what was dropped on the way. A sink that makes no progress
// for AsyncOptions.Patience, or has not finished after AsyncOptions.Limit, is
// given up, unless AsyncOptions.Wait says otherwise: it gets no further call,
// what it has not taken counts as dropped, and the error is an *UnwrittenError.
// It may still hang in its last call.
func (a *AsyncSink) End(s *Summary) error {
	if a.ended || a.tail == nil {
		return a.Err()
	}
	a.ended = true
	if a.missing.Counts != (Counts{}) {
		a.put(&a.missing) // one record beyond the bound
		a.missing = Dropped{}
	}
	own := *s
	own.Dropped = a.Dropped()
	a.published.Store(a.written)
	a.flush.Store(true)
	a.end.Store(&own) // last: whoever sees this sees all of the above
	a.signal()
	began := time.Now()
	if a.await(began) {
		a.countUntaken(a.taking.Load())
		return a.Err()
	}
	taken := a.taking.Swap(stopped)
	select {
	case <-a.done: // at the last moment
		a.countUntaken(taken)
		return a.Err()
	default:
	}
	a.signal()
	err := error(&UnwrittenError{
		Name: a.o.Name, After: time.Since(began).Round(time.Millisecond),
		Counts: a.countUntaken(taken), Unflushed: taken - a.flushed.Load(),
	})
	a.failure.CompareAndSwap(nil, &err)
	return err
}

// Err returns the failure of the sink, nil while there is none. It may be called
// from any goroutine.
func (a *AsyncSink) Err() error {
	if err := a.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// await waits for the sink to finish. It returns false if the sink is to be given
// up.
func (a *AsyncSink) await(began time.Time) bool {
	tick := time.NewTicker(max(a.o.Patience/16, time.Millisecond))
	defer tick.Stop()
	last, moved := a.taking.Load(), began
	wait := began // when to ask again
	for {
		select {
		case <-a.done:
			return true
		case now := <-tick.C:
			if taken := a.taking.Load(); taken != last {
				last, moved = taken, now
			}
			if now.Sub(moved) < a.o.Patience && now.Sub(began) < a.o.Limit || now.Before(wait) {
				continue
			}
			if a.o.Wait == nil || !a.o.Wait() {
				return false
			}
			wait = now.Add(a.o.Patience)
		}
	}
}

// countUntaken counts the records from a number on as dropped, and returns them.
func (a *AsyncSink) countUntaken(taken uint64) Counts {
	var left Counts
	for c := a.head; c != nil; c = c.next {
		for i, r := range c.records[:c.n] {
			if _, told := r.(*Dropped); !told && c.first+uint64(i) >= taken {
				left.Add(r)
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dropped.Merge(left)
	return left
}

// Stop ends the goroutine without an End, as when a session does not begin. A
// sink that hangs ends it when its call returns.
func (a *AsyncSink) Stop() {
	a.taking.Store(stopped)
	a.signal()
}

// gone reports whether the sink was given up.
func (a *AsyncSink) gone() bool { return a.taking.Load() == stopped }

// run is the sink's goroutine. It reads chunks from at on, and never writes to
// one.
func (a *AsyncSink) run(at *chunk) {
	defer close(a.done)
	var n uint64 // records taken
	for range a.wake {
		flush, end := a.flush.Swap(false), a.end.Load()
		for limit := a.published.Load(); n < limit && !a.gone(); n++ {
			if n == at.first+chunkLen {
				at = at.next
			}
			if a.fails(a.sink.Record(at.records[n-at.first])) || !a.taking.CompareAndSwap(n, n+1) {
				return
			}
		}
		if a.gone() || flush && a.fails(a.sink.Flush()) || a.gone() {
			return
		}
		if flush {
			a.flushed.Store(n)
		}
		if end != nil {
			a.fails(a.sink.End(end))
			return
		}
	}
}

// fails notes an error of the sink, which gets no further call.
func (a *AsyncSink) fails(err error) bool {
	if err == nil {
		return false
	}
	kept := err // err itself would be allocated in every call
	a.failure.CompareAndSwap(nil, &kept)
	return true
}
