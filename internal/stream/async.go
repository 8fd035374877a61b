// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of AsyncOptions.
const (
	DefaultAsyncRecords  = 1 << 17
	DefaultAsyncBytes    = 64 << 20
	DefaultAsyncPatience = 2 * time.Second
	DefaultAsyncLimit    = time.Minute
)

// AsyncOptions of an AsyncSink. Zero fields take the defaults.
type AsyncOptions struct {
	// Name says in errors what the sink writes: a file's name, or "standard
	// output".
	Name string
	// Records and Bytes bound what waits for the sink. Bytes is roughly the
	// memory it takes.
	Records, Bytes int
	// Patience is how long End waits for a sink that makes no progress, and Limit
	// how long altogether for one that does.
	Patience, Limit time.Duration
	// Wait is asked when one of them is over, and every Patience from then on:
	// true keeps waiting. If it is nil, the sink is given up.
	Wait func() bool
}

func (o AsyncOptions) withDefaults() AsyncOptions {
	if o.Name == "" {
		o.Name = "output"
	}
	if o.Records <= 0 {
		o.Records = DefaultAsyncRecords
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultAsyncBytes
	}
	if o.Patience <= 0 {
		o.Patience = DefaultAsyncPatience
	}
	if o.Limit <= 0 {
		o.Limit = DefaultAsyncLimit
	}
	return o
}

// AsyncSink runs a sink on a goroutine of its own. Record and Flush never wait
// for it: records queue up to a bound; beyond it they are dropped and counted,
// and the sink gets a *Dropped in their place. In steady state no method
// allocates; memory grows while the sink lags and is given back once it has
// caught up.
//
// Like those of any sink, its methods are for one goroutine, except Dropped and
// Err. After Start, either End or Stop must follow, as the last call.
type AsyncSink struct {
	sink        Sink
	o           AsyncOptions
	summaryOnly bool // it takes no records

	// For the caller's goroutine. Chunks form a list: those before head have been
	// taken by the sink, tail is being filled.
	head, tail *chunk
	spare      []*chunk // for reuse
	waiting    int      // bytes of the chunks before tail
	written    uint64   // records put into chunks since the start
	taken      uint64   // what was last seen of the shared one
	full       bool     // records are being dropped
	missing    Dropped  // not reported yet
	ended      bool

	mu      sync.Mutex
	dropped Counts // guarded by mu

	// Shared. Every change of published, flush and end is followed by a wake.
	published atomic.Uint64 // records that the sink may take
	taking    atomic.Uint64 // records that the sink has taken; stopped: it gets no more
	flushed   atomic.Uint64 // of taking, when the sink was last flushed
	flush     atomic.Bool   // the sink is to be flushed
	end       atomic.Pointer[Summary]
	failure   atomic.Pointer[error] // of the sink
	wake      chan struct{}         // holds a token when there is something to do
	done      chan struct{}         // closed when the goroutine is over
}

// stopped stands in taking for a sink that was given up.
const stopped = ^uint64(0)

// spares is how many chunks are kept while the sink keeps up.
const spares = 4

var _ Sink = (*AsyncSink)(nil)

// Async returns a sink that runs another on a goroutine of its own.
func Async(sink Sink, o AsyncOptions) *AsyncSink {
	_, summaryOnly := sink.(SummarySink)
	return &AsyncSink{sink: sink, o: o.withDefaults(), summaryOnly: summaryOnly, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Start starts the sink and waits for that: an output that cannot be written must
// be known before anything is traced.
func (a *AsyncSink) Start(s *Start) error {
	if err := a.sink.Start(s); err != nil {
		a.failure.Store(&err)
		close(a.done)
		return err
	}
	a.head = new(chunk)
	a.tail = a.head
	go a.run(a.head)
	return nil
}

// Record takes a copy of a record, or drops it. It returns the sink's error from
// an earlier record, if there was one, and then does not take this one.
func (a *AsyncSink) Record(r Record) error {
	if err := a.Err(); err != nil || a.summaryOnly {
		return err
	}
	if !a.room() {
		a.drop(r)
		return nil
	}
	if a.missing.Counts != (Counts{}) {
		a.put(&a.missing)
		a.missing = Dropped{}
	}
	a.put(r)
	return nil
}

// room reports whether there is room for another record. After a refusal, a
// quarter must be free again: a few long gaps are better than many short ones.
func (a *AsyncSink) room() bool {
	records, bytes := uint64(a.o.Records), a.o.Bytes
	if a.full {
		records, bytes = records-records/4, bytes-bytes/4
	}
	if a.written-a.taken < records && a.waiting < bytes {
		a.full = false
		return true
	}
	a.reclaim()
	full := a.written-a.taken >= records || a.waiting >= bytes
	if full && !a.full {
		a.publish() // otherwise the sink would wait for a Flush, and Record for the sink
	}
	a.full = full
	return !full
}

func (a *AsyncSink) drop(r Record) {
	a.missing.note(r)
	if _, told := r.(*Dropped); told {
		return // these were counted when they were dropped
	}
	a.mu.Lock()
	a.dropped.Add(r)
	a.mu.Unlock()
}

func (a *AsyncSink) put(r Record) {
	if a.tail.full() {
		a.publish()
		a.reclaim()
		a.extend()
	}
	a.tail.put(r)
	a.written++
}

// extend appends an empty chunk to the list.
func (a *AsyncSink) extend() {
	var c *chunk
	if n := len(a.spare); n > 0 {
		c, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		c = new(chunk)
	}
	c.first = a.written
	a.waiting += a.tail.bytes
	a.tail.next = c
	a.tail = c
}

// reclaim takes back the chunks the sink has finished with. It has finished with
// a chunk once it has taken a record of the next one.
func (a *AsyncSink) reclaim() {
	a.taken = a.taking.Load()
	for a.head != a.tail && a.head.first+chunkLen < a.taken {
		c := a.head
		a.head = c.next
		a.waiting -= c.bytes
		if len(a.spare) < spares {
			c.reuse()
			a.spare = append(a.spare, c)
		}
	}
}

// publish lets the sink take what was written.
func (a *AsyncSink) publish() {
	a.published.Store(a.written)
	a.signal()
}

func (a *AsyncSink) signal() {
	select {
	case a.wake <- struct{}{}:
	default: // it has not yet seen the last one
	}
}

// Flush hands over what was recorded, without waiting. It returns the sink's
// error from an earlier call, if there was one.
func (a *AsyncSink) Flush() error {
	if err := a.Err(); err != nil {
		return err
	}
	a.reclaim()
	if a.missing.Counts != (Counts{}) && a.room() {
		a.put(&a.missing)
		a.missing = Dropped{}
	}
	a.published.Store(a.written)
	a.flush.Store(true) // published before: whoever sees this sees the records
	a.signal()
	return nil
}

// Dropped returns how many records the sink has missed so far: those dropped and,
// after End, those it no longer took. It may be called from any goroutine.
func (a *AsyncSink) Dropped() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dropped
}
