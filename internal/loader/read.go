// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/event"

	"github.com/cilium/ebpf/ringbuf"
)

// counters are kept by the reading goroutine and read by any.
type counters struct {
	received  atomic.Uint64
	malformed atomic.Uint64
}

// MaxBatch is the most events that one Read hands over: a target that produces
// as fast as they are read must not keep the caller from its other duties.
const MaxBatch = 4096

// Read waits until the deadline, or until it is woken, and hands the available
// records to handle: those of one thread in order, all of them nearly by time. It
// is woken when threads and processes end or change, when much is unread, and
// after Options.WakeInterval. It returns the number of events handed over, at
// most MaxBatch; after so many, the next call does not wait.
//
// The event is valid until handle returns. A record that cannot be decoded is
// counted (Stats.Malformed) and skipped.
func (t *Tracer) Read(deadline time.Time, handle func(event.Event)) (int, error) {
	t.handle, t.handled = handle, 0
	var err error
	if t.rings == nil || !t.more {
		t.reader.SetDeadline(deadline)
		err = t.readBell()
	}
	if t.rings != nil && err == nil {
		var n int
		n, err = t.rings.read(MaxBatch, t.deliverFn)
		t.more = n == MaxBatch
	}
	if err != nil {
		return t.handled, fmt.Errorf("read the ring buffer: %w", err)
	}
	return t.handled, nil
}

// readBell reads the BPF ring buffer: records where there is no other ring,
// else only the bell.
func (t *Tracer) readBell() error {
	for {
		err := t.reader.ReadInto(&t.record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if t.rings == nil {
			t.deliver(t.record.RawSample)
		}
		if t.record.Remaining == 0 || t.handled >= MaxBatch {
			return nil
		}
	}
}

// Drain hands over everything unread and returns when nothing is left. Call
// it after Detach; after one that was given up it hands over what there is now.
func (t *Tracer) Drain(handle func(event.Event)) error {
	t.handle = handle
	if t.rings != nil {
		drain := t.rings.drain
		if t.held {
			drain = t.rings.drainNow
		}
		if err := drain(t.deliverFn); err != nil {
			return fmt.Errorf("drain the rings: %w", err)
		}
		return nil
	}
	if err := t.reader.Flush(); err != nil {
		return fmt.Errorf("drain the ring buffer: %w", err)
	}
	t.reader.SetDeadline(time.Time{})
	for left := t.reader.BufferSize(); left > 0 || !t.held; left -= len(t.record.RawSample) {
		err := t.reader.ReadInto(&t.record)
		if errors.Is(err, ringbuf.ErrFlushed) {
			return nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // left over from the last Read: the reader reports it once
		}
		if err != nil {
			return fmt.Errorf("drain the ring buffer: %w", err)
		}
		t.deliver(t.record.RawSample)
	}
	return nil
}

// deliver decodes one record and hands it over.
func (t *Tracer) deliver(raw []byte) {
	t.decoder.shapes = *t.shapes.Load()
	ev, err := t.decoder.decode(raw)
	if err != nil {
		t.counters.malformed.Add(1)
		return
	}
	if ev == &t.decoder.marker {
		t.counters.received.Add(1)
	}
	t.handled++
	t.handle(ev)
}
