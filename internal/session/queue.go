// SPDX-License-Identifier: Apache-2.0

package session

import (
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// queue stands between the engine and the sinks. Without a GPU it passes
// records on at once; with one it holds them, in order, until each boundary's
// sample has come or the bound of the wait is over.
type queue struct {
	sink    stream.Sink
	clock   *clock.Unix
	figures *figures.Figures
	err     error // of the sink; nothing is written after it

	gpu     *correlation // nil: no sampling
	started int64        // of the session
	items   []item
	head, n int
	early   uint64 // boundaries that could not wait for their sample
}

// item is one record that waits. Exactly one field besides time is used.
type item struct {
	time  int64
	b     stream.Boundary
	attrs []byte        // owned copy of b.Attributes
	other stream.Record // *Violation, *Orphan, *Loss or *ProcessChange
	// Copies of who b was: an exec changes the originals.
	thread, exitThread stream.Thread
	process            stream.Process
}

// keptAttributes is the size, in bytes, up to which a waiting record's buffer is
// kept for the next: there are up to maxQueued.
const keptAttributes = 1024

// maxQueued bounds the records that wait for samples. Beyond it the oldest go
// out with what is known, and are counted.
const maxQueued = 1 << 16

func (q *queue) note(err error) {
	if q.err == nil {
		q.err = err
	}
}

// Record takes what the engine tells.
func (q *queue) Record(r stream.Record) {
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
	case *stream.ProcessChange:
		r.Unix = q.clock.At(r.Time)
		q.pass(r.Time, r)
	}
}

func (q *queue) boundary(b *stream.Boundary) {
	if q.gpu == nil {
		q.write(b)
		return
	}
	q.gpu.kick()
	it := q.push(b.Time)
	it.b = *b
	it.attrs = append(it.attrs[:0], b.Attributes...)
	it.b.Attributes = it.attrs
	it.thread, it.process = *b.Thread, *b.Thread.Process
	if b.ExitThread != nil {
		it.exitThread = *b.ExitThread
	}
}

// identify gives a waiting boundary its copies, which may have moved.
func (it *item) identify() {
	it.thread.Process, it.b.Thread = &it.process, &it.thread
	if it.b.ExitThread != nil {
		it.exitThread.Process, it.b.ExitThread = &it.process, &it.exitThread
	}
}

// pass hands a record other than a boundary on, behind those that wait.
func (q *queue) pass(time int64, record stream.Record) {
	if q.gpu == nil {
		q.write(record)
		return
	}
	q.push(time).other = stream.Clone(record)
}

// write adds a record to the figures and hands it to the sink.
func (q *queue) write(record stream.Record) {
	_ = q.figures.Record(record) // it never fails
	if q.err == nil {
		q.note(q.sink.Record(record))
	}
	if p, ok := record.(*stream.ProcessChange); ok && q.gpu != nil && !p.Started {
		q.gpu.corr.ForgetProcess(p.Process.HostPID)
	}
}

// push returns the place of a new last item.
func (q *queue) push(time int64) *item {
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

// makeRoom lets go of a quarter when everything waits.
func (q *queue) makeRoom() {
	q.advance(clock.Monotonic(), 0, false)
	for q.n > maxQueued/4*3 {
		if q.items[q.head].other == nil {
			q.early++
		}
		q.pop()
	}
}

func (q *queue) grow() {
	bigger := make([]item, max(256, 2*len(q.items)))
	for i := range q.n {
		bigger[i] = q.items[(q.head+i)%len(q.items)]
	}
	q.items, q.head = bigger, 0
}

// pop writes the first item with what is known of its GPU memory.
func (q *queue) pop() {
	it := &q.items[q.head]
	q.head = (q.head + 1) % len(q.items)
	q.n--
	if it.other != nil {
		q.write(it.other)
		return
	}
	it.identify()
	q.gpu.complete(&it.b)
	q.write(&it.b)
	if cap(it.attrs) > keptAttributes {
		it.attrs, it.b.Attributes = nil, nil
	}
}

// advance takes new samples and writes what need not wait any longer. All
// records up to the time read are here: who was active until then is known. final
// writes everything.
func (q *queue) advance(now, read int64, final bool) {
	if q.gpu == nil {
		return
	}
	q.gpu.take(now)
	for q.n > 0 {
		it := &q.items[q.head]
		q.samples(it.time)
		if !final && !q.gpu.corr.Ready(it.time, now) {
			return
		}
		q.pop()
	}
	q.samples(read)
}

// samples writes the samples up to a time; the phases that were active then
// are known once everything before has been written.
func (q *queue) samples(until int64) {
	for len(q.gpu.fresh) > 0 && q.gpu.fresh[0].Mid <= until {
		s := q.gpu.fresh[0]
		q.gpu.fresh = q.gpu.fresh[1:]
		out := stream.Sample{Sample: s, Unix: q.clock.At(s.Mid), Device: q.gpu.device(s.Device), Phase: q.gpu.active.attribute()}
		if s.Mid < q.started {
			continue // it only serves the first boundaries
		}
		q.write(&out)
	}
}

// notes says what the queue could not do as promised.
func (q *queue) notes() []stream.Note {
	if q.early == 0 {
		return nil
	}
	return []stream.Note{{What: "boundaries told with the memory sample before them, because too many waited for the one after", Count: q.early}}
}

func (q *queue) flush() {
	if q.err == nil {
		q.note(q.sink.Flush())
	}
}

// activity knows which phase is active in each lane of each thread, as of the
// last record that was written.
type activity struct {
	phases map[activeLane]recorder.Active
}

// activeLane names a stack: of a thread and a lane, or of a keyed phase.
type activeLane struct {
	tid   int // on the host
	rank  int32
	lane  string
	key   uint64
	keyed bool
}

func (a *activity) apply(b *stream.Boundary) {
	if a.phases == nil {
		a.phases = make(map[activeLane]recorder.Active)
	}
	at := activeLane{b.Thread.HostTID, b.Rank, b.Lane, b.Key, b.Keyed}
	path := b.Path
	scope := b.Scope
	if b.Action == recorder.Exit {
		path, scope = path.Parent(), b.Parent
	}
	if path == nil {
		delete(a.phases, at)
		return
	}
	a.phases[at] = recorder.Active{
		SessionID: b.SessionID, Rank: b.Rank, ThreadID: b.ThreadID, Lane: b.Lane,
		Scope: scope, Path: path, Depth: path.Depth(),
	}
}

// attribute says which phase was active: unique when all threads agree.
func (a *activity) attribute() recorder.Attribution {
	var out recorder.Attribution
	for _, p := range a.phases {
		out.Candidates = append(out.Candidates, p)
	}
	return recorder.AttributeAmong(recorder.Question{}, out.Candidates)
}
