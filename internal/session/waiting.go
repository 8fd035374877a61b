// SPDX-License-Identifier: Apache-2.0

package session

import (
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// waiting stands between the engine and the sink. Without a GPU it passes
// records on at once; with one it holds them, in order, until each boundary's
// sample has come or the bound of the wait is over.
type waiting struct {
	sink    stream.Sink
	clock   *clock.Unix
	figures *figures.Figures
	err     error                 // of the sink; nothing is written after it
	ended   func(*stream.Process) // is told who has ended; nil: nobody wants to know

	gpu     *correlation // nil: no sampling
	started int64        // of the session
	items   []item
	head, n int
	seen    int    // of the n items, the crowd has seen that many
	early   uint64 // boundaries that could not wait for their sample
}

// item is one record that waits. Exactly one field besides time is used.
type item struct {
	time  int64
	b     stream.Boundary
	attrs []byte        // owned copy of b.Attributes and b.ExitAttributes
	other stream.Record // *Violation, *Orphan, *Loss or *ProcessChange
}

// keptAttributes is the size, in bytes, up to which a waiting record's buffer is
// kept for the next: there are up to maxQueued.
const keptAttributes = 1024

// maxQueued bounds the records that wait for samples. Beyond it the oldest go
// out with what is known, and are counted.
const maxQueued = 1 << 16

func (q *waiting) note(err error) {
	if q.err == nil {
		q.err = err
	}
}

// Record takes a record from the engine.
func (q *waiting) Record(r stream.Record) {
	switch r := r.(type) {
	case *stream.Boundary:
		r.Unix = q.clock.At(r.Time)
		q.boundary(r)
	case *stream.Violation:
		r.Unix = q.clock.At(r.Time)
		q.pass(r.Time, r)
	case *stream.Orphan:
		r.Unix = q.clock.At(r.Time)
		q.pass(r.Time, r)
	case *stream.Loss:
		r.Unix = q.clock.At(r.Time)
		q.pass(r.Time, r)
	case *stream.PairChange:
		r.Unix = q.clock.At(r.Time)
		q.pass(r.Time, r)
	case *stream.ProcessChange:
		r.Unix = q.clock.At(r.Time)
		q.pass(r.Time, r)
	}
}

func (q *waiting) boundary(b *stream.Boundary) {
	if q.gpu == nil {
		q.write(b)
		return
	}
	q.gpu.news(b)
	it := q.push(b.Time)
	it.b = *b
	n := len(b.Attributes)
	it.attrs = append(append(it.attrs[:0], b.Attributes...), b.ExitAttributes...)
	it.b.Attributes, it.b.ExitAttributes = it.attrs[:n:n], it.attrs[n:]
}

// pass hands a record other than a boundary on, behind those that wait.
func (q *waiting) pass(time int64, record stream.Record) {
	if q.gpu == nil {
		q.write(record)
		return
	}
	q.push(time).other = stream.Clone(record)
}

// write adds a record to the figures and hands it to the sink.
func (q *waiting) write(record stream.Record) {
	_ = q.figures.Record(record) // it never fails
	if q.err == nil {
		q.note(q.sink.Record(record))
	}
	if p, ok := record.(*stream.ProcessChange); ok && !p.Started && !p.Titled {
		if q.gpu != nil {
			q.gpu.corr.ForgetProcess(p.Process.HostPID)
			q.gpu.crowd.forget(p.Process.HostPID)
		}
		if q.ended != nil {
			q.ended(p.Process)
		}
	}
}

// push returns the place of a new last item.
func (q *waiting) push(time int64) *item {
	if q.n == maxQueued {
		q.makeRoom()
	}
	if q.n == len(q.items) {
		q.grow()
	}
	it := &q.items[(q.head+q.n)%len(q.items)]
	q.n++
	it.time, it.other = time, nil
	return it
}

// makeRoom passes a quarter on when the queue is full.
func (q *waiting) makeRoom() {
	q.advance(clock.Monotonic(), 0, false)
	for q.n > maxQueued/4*3 {
		if q.items[q.head].other == nil {
			q.early++
		}
		q.pop()
	}
}

func (q *waiting) grow() {
	bigger := make([]item, max(256, 2*len(q.items)))
	for i := range q.n {
		bigger[i] = q.items[(q.head+i)%len(q.items)]
	}
	q.items, q.head = bigger, 0
}

// pop writes the first item with what is known of its GPU memory.
func (q *waiting) pop() {
	it := &q.items[q.head]
	q.look(q.gpu.corr.Until(it.time))
	q.head = (q.head + 1) % len(q.items)
	q.n--
	q.seen--
	if it.other != nil {
		q.write(it.other)
		return
	}
	q.gpu.complete(&it.b)
	q.write(&it.b)
	if cap(it.attrs) > keptAttributes {
		it.attrs, it.b.Attributes, it.b.ExitAttributes = nil, nil, nil
	}
}

// look lets the crowd see what happened up to a time, and the first item in any
// case.
func (q *waiting) look(until int64) {
	for q.seen < q.n {
		it := &q.items[(q.head+q.seen)%len(q.items)]
		if it.time > until && q.seen > 0 {
			return
		}
		q.seen++
		if it.other != nil {
			q.gpu.crowd.see(it.other)
		} else {
			q.gpu.crowd.see(&it.b)
		}
	}
}

// advance takes new samples and writes what need not wait any longer. All
// records up to the time read are here: who was active until then is known. final
// writes everything.
func (q *waiting) advance(now, read int64, final bool) {
	if q.gpu == nil {
		return
	}
	q.gpu.take(now)
	q.gpu.crowd.known = max(q.gpu.crowd.known, read)
	for q.n > 0 {
		it := &q.items[q.head]
		q.samples(it.time)
		if !final && !q.gpu.corr.Ready(it.time, now, q.gpu.crowd.known) {
			return
		}
		q.pop()
	}
	q.samples(read)
}

// samples writes the samples up to a time; the phases that were active then
// are known once everything before has been written.
func (q *waiting) samples(until int64) {
	for len(q.gpu.fresh) > 0 && q.gpu.fresh[0].Mid <= until {
		s := q.gpu.fresh[0]
		q.gpu.fresh = q.gpu.fresh[1:]
		out := stream.Sample{Sample: s, Unix: q.clock.At(s.Mid), Device: q.gpu.device(s.Device), Phase: q.gpu.attribute(s.Device)}
		if s.Mid < q.started {
			continue // it only serves the first boundaries
		}
		q.write(&out)
	}
}

// notes says what the queue could not do as promised.
func (q *waiting) notes() []stream.Note {
	if q.early == 0 {
		return nil
	}
	return []stream.Note{{What: "boundaries told with the memory sample before them, because too many waited for the one after", Count: q.early}}
}

func (q *waiting) flush() {
	if q.err == nil {
		q.note(q.sink.Flush())
	}
}
