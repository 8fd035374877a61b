// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/nvsample"
)

// More boundaries wait for a sample than the queue holds, because the device
// does not answer: all go out, in order, and those that did not wait are told.
func TestQueueOverflow(t *testing.T) {
	fake := nvsample.NewFake(1)
	sampler := nvsample.Start(fake, nvsample.Options{})
	t.Cleanup(func() {
		if err := sampler.Close(); err != nil {
			t.Error(err)
		}
	})
	sink := &collector{}
	q := &queue{sink: sink, clock: newClock(readOffsets), gpu: newGPU(sampler)}
	for len(q.gpu.fresh) == 0 {
		q.gpu.take(monotonic()) // the correlator has one sample, and waits for later ones
	}
	e, events := benchEngineTo(t, q)
	ahead := monotonic() + int64(time.Hour) // no sample can come
	var seq uint64
	for range maxQueued/len(events) + 1 {
		for i := range events {
			ev := events[i]
			ev.Seq, ev.Time = seq, ahead+int64(seq)
			seq++
			e.Begin()
			e.Handle(&ev)
			e.End()
		}
	}
	if q.err != nil {
		t.Fatal(q.err)
	}
	if q.early == 0 || q.early != uint64(len(sink.boundaries)) {
		t.Errorf("%d boundaries written, %d counted as early", len(sink.boundaries), q.early)
	}
	if notes := q.notes(); len(notes) != 1 || notes[0].Count != q.early {
		t.Errorf("notes %v, want the %d", notes, q.early)
	}
	q.advance(ahead, true)
	if len(sink.boundaries) != int(seq) {
		t.Errorf("%d boundaries written at last, want %d", len(sink.boundaries), seq)
	}
	for i := 1; i < len(sink.boundaries); i++ {
		if sink.boundaries[i].Time < sink.boundaries[i-1].Time {
			t.Fatalf("boundary %d is out of order", i)
		}
	}
}
