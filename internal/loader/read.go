// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/ringbuf"
)

// counters are kept by the reading goroutine and read by any.
type counters struct {
	received  atomic.Uint64
	malformed atomic.Uint64
}

// MaxBatch is the most events that one Read hands over: a target that produces as fast as
// they are read must not keep the caller from its other duties.
const MaxBatch = 4096

// Read waits for records until the deadline and hands what there is to
// handle, in the order of the ring buffer: records of one thread in theirs.
// It returns the number of events handed over, at most MaxBatch; 0 when the
// deadline passed.
//
// The event is valid until handle returns. A record that cannot be decoded is
// counted (Stats.Malformed) and passed over.
func (t *Tracer) Read(deadline time.Time, handle func(*Event)) (int, error) {
	t.reader.SetDeadline(deadline)
	n := 0
	for {
		err := t.reader.ReadInto(&t.record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read the ring buffer: %w", err)
		}
		n += t.deliver(handle)
		if t.record.Remaining == 0 || n >= MaxBatch {
			return n, nil
		}
	}
}

// Drain hands over everything unread and returns when nothing is left. Call
// it after Detach.
func (t *Tracer) Drain(handle func(*Event)) error {
	if err := t.reader.Flush(); err != nil {
		return fmt.Errorf("drain the ring buffer: %w", err)
	}
	t.reader.SetDeadline(time.Time{})
	for {
		err := t.reader.ReadInto(&t.record)
		if errors.Is(err, ringbuf.ErrFlushed) {
			return nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // left over from the last Read: the reader tells it once
		}
		if err != nil {
			return fmt.Errorf("drain the ring buffer: %w", err)
		}
		t.deliver(handle)
	}
}

func (t *Tracer) deliver(handle func(*Event)) int {
	if err := decode(t.record.RawSample, &t.event, t.shapes); err != nil {
		t.counters.malformed.Add(1)
		return 0
	}
	if t.event.Kind == KindMarker {
		t.counters.received.Add(1)
	}
	handle(&t.event)
	return 1
}
