// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// kept is a sink that keeps what it gets.
type kept struct {
	started bool
	records []stream.Record
	visible int // of records, at the last Flush
	flushes int
	end     *stream.Summary
	// before is called before each record is taken. An error refuses it.
	before func() error
}

func (k *kept) Start(*stream.Start) error { k.started = true; return nil }

func (k *kept) Record(r stream.Record) error {
	if k.before != nil {
		if err := k.before(); err != nil {
			return err
		}
	}
	k.records = append(k.records, stream.Clone(r))
	return nil
}

func (k *kept) Flush() error { k.visible = len(k.records); k.flushes++; return nil }

func (k *kept) End(s *stream.Summary) error { k.end = s; return nil }

// counts returns what the sink got, and what it was told to have missed.
func (k *kept) counts() (got, missed stream.Counts) {
	for _, r := range k.records {
		if d, ok := r.(*stream.Dropped); ok {
			missed.Merge(d.Counts)
		} else {
			got.Add(r)
		}
	}
	return got, missed
}

var (
	process = &stream.Process{PID: 7, Comm: "train"}
	thread  = &stream.Thread{TID: 8, Name: "worker", Process: process}
	site    = &stream.Marker{Provider: "p", Probe: "enter"}
	path, _ = func() (*recorder.Path, error) {
		p, _, err := recorder.NewPaths(recorder.Limits{}).Child(nil, "step")
		return p, err
	}()
)

// records returns n records of all kinds, in random order and with random
// contents.
func records(n int) []stream.Record {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	var out []stream.Record
	for i := range n {
		t := int64(i + 1)
		switch random.IntN(12) {
		case 0:
			out = append(out, &stream.Violation{Time: t, Unix: t, Thread: thread, Marker: site, Err: &recorder.ProtocolError{Kind: recorder.NotLIFO}})
		case 1:
			out = append(out, &stream.Orphan{Time: t, Unix: t, Thread: thread, Reason: "untraced"})
		case 2:
			out = append(out, &stream.Loss{Time: t, Unix: t, Count: uint64(i)})
		case 3:
			out = append(out, &stream.ProcessChange{Time: t, Unix: t, Process: process, Started: true})
		case 4:
			s := &stream.Sample{Unix: t, Sample: gpu.Sample{Mid: t, Used: gpu.Bytes(uint64(i))}}
			for range random.IntN(3) {
				s.Phase.Candidates = append(s.Phase.Candidates, recorder.Active{Scope: uint64(i), Path: path})
			}
			out = append(out, s)
		default:
			b := &stream.Boundary{Time: t, Unix: t, Thread: thread, Marker: site, Duration: t}
			b.Boundary = recorder.Boundary{Action: recorder.Enter, Path: path, Sequence: uint64(i)}
			for range random.IntN(40) {
				b.Attributes = append(b.Attributes, byte('a'+random.IntN(26)))
			}
			for d := range random.IntN(3) {
				b.GPU = append(b.GPU, gpu.Reading{Device: d, Used: gpu.Bytes(random.Uint64())})
				b.ProcessGPU = append(b.ProcessGPU, gpu.ProcessReading{Age: int64(i)})
			}
			out = append(out, b)
		}
	}
	return out
}

// same fails when the sink got another record than was given.
func same(t *testing.T, given, got stream.Record) {
	t.Helper()
	if !reflect.DeepEqual(given, got) {
		t.Fatalf("given was %+v, got is %+v", given, got)
	}
}

func start(t *testing.T, sink stream.Sink, o stream.AsyncOptions) *stream.AsyncSink {
	t.Helper()
	a := stream.Async(sink, o)
	if err := a.Start(&stream.Start{SessionID: "s"}); err != nil {
		t.Fatal(err)
	}
	return a
}

// give hands records on as the engine does: with buffers that are used anew.
func give(t *testing.T, a stream.Sink, rs []stream.Record) {
	t.Helper()
	for _, r := range rs {
		lent := stream.Clone(r)
		if err := a.Record(lent); err != nil {
			t.Fatal(err)
		}
		if b, ok := lent.(*stream.Boundary); ok {
			clear(b.Attributes)
			clear(b.GPU)
			clear(b.ProcessGPU)
			*b = stream.Boundary{}
		}
	}
}

// A sink that keeps up gets everything as it was given, in order, with the
// flush that follows it.
func TestAsyncKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink kept
		a := start(t, &sink, stream.AsyncOptions{})
		if !sink.started {
			t.Error("Start has not started the sink")
		}
		all := records(5000)
		random := rand.New(rand.NewPCG(2, 3))
		for given := 0; given < len(all); {
			n := min(random.IntN(700), len(all)-given)
			give(t, a, all[given:given+n])
			given += n
			if err := a.Flush(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if sink.visible != given {
				t.Fatalf("%d records are visible after a flush of %d", sink.visible, given)
			}
		}
		if err := a.End(&stream.Summary{SessionID: "s"}); err != nil {
			t.Fatal(err)
		}
		if len(sink.records) != len(all) {
			t.Fatalf("%d records of %d", len(sink.records), len(all))
		}
		for i, r := range sink.records {
			same(t, all[i], r)
		}
		if sink.end == nil || sink.end.SessionID != "s" || sink.end.Dropped != (stream.Counts{}) || a.Dropped() != (stream.Counts{}) {
			t.Errorf("summary %+v, dropped %+v", sink.end, a.Dropped())
		}
	})
}

// What is not flushed is handed over all the same: when there is much of it, and
// at the end.
func TestAsyncWithoutFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink kept
		a := start(t, &sink, stream.AsyncOptions{})
		all := records(1000)
		give(t, a, all)
		synctest.Wait()
		if len(sink.records) < len(all)/2 {
			t.Errorf("%d of %d records were handed over", len(sink.records), len(all))
		}
		if err := a.End(&stream.Summary{}); err != nil || len(sink.records) != len(all) {
			t.Errorf("%d of %d records in the end, %v", len(sink.records), len(all), err)
		}
	})
}

// A sink that hangs holds nobody up. What does not fit is counted by kind and
// told in its place; nothing is counted twice or not at all.
func TestAsyncDrops(t *testing.T) {
	for _, bound := range []stream.AsyncOptions{{Records: 1}, {Records: 300}, {Records: 2000}, {Bytes: 1}, {Bytes: 500_000}} {
		synctest.Test(t, func(t *testing.T) {
			hang := make(chan bool)
			var sink kept
			sink.before = func() error { <-hang; return nil }
			a := start(t, &sink, bound)
			all := records(5_000)
			random := rand.New(rand.NewPCG(4, 5))
			for given := 0; given < len(all); {
				n := min(random.IntN(500), len(all)-given)
				give(t, a, all[given:given+n])
				given += n
				if random.IntN(2) == 0 {
					if err := a.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				for range random.IntN(200) { // the sink takes a few
					synctest.Wait()
					select {
					case hang <- false:
					default:
					}
				}
			}
			close(hang)
			if err := a.End(&stream.Summary{}); err != nil {
				t.Fatal(err)
			}
			accounted(t, all, &sink, a)
			got, missed := sink.counts()
			if missed.Total() == 0 || got.Total() == 0 {
				t.Errorf("%d records got and %d missed: want some of both", got.Total(), missed.Total())
			}
			if sink.end.Dropped != missed || a.Dropped() != missed {
				t.Errorf("the sink was told of %+v in the stream and of %+v in the summary; dropped are %+v", missed, sink.end.Dropped, a.Dropped())
			}
		})
	}
}

// accounted checks that every record was either got or dropped, in the very
// place where the sink is told so.
func accounted(t *testing.T, given []stream.Record, sink *kept, a *stream.AsyncSink) {
	t.Helper()
	i := 0
	for _, r := range sink.records {
		d, ok := r.(*stream.Dropped)
		if !ok {
			if i >= len(given) {
				t.Fatalf("a record too many: %+v", r)
			}
			same(t, given[i], r)
			i++
			continue
		}
		var want stream.Dropped
		n := int(d.Counts.Total())
		for _, r := range given[i : i+n] {
			want.Counts.Add(r)
		}
		want.Time, want.Unix, want.Until = int64(i+1), int64(i+1), int64(i+n)
		if n == 0 || *d != want {
			t.Fatalf("after record %d: told of %+v, want %+v", i, *d, want)
		}
		i += n
	}
	var all, rest stream.Counts
	for _, r := range given {
		all.Add(r)
	}
	for _, r := range given[i:] {
		rest.Add(r)
	}
	got, missed := sink.counts()
	missed.Merge(rest)
	if a.Dropped() != missed {
		t.Errorf("dropped are %+v, the sink lacks %+v", a.Dropped(), missed)
	}
	got.Merge(missed)
	if got != all {
		t.Errorf("got and missed together are %+v, given were %+v", got, all)
	}
}

// A Dropped of somebody before that is dropped itself is told all the same.
func TestAsyncPassesGapsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan bool)
		sink := kept{before: func() error { <-hang; return nil }}
		a := start(t, &sink, stream.AsyncOptions{Records: 1})
		give(t, a, []stream.Record{
			&stream.Loss{Time: 1},
			&stream.Dropped{Time: 2, Unix: 3, Until: 4, Counts: stream.Counts{Boundaries: 5}},
			&stream.Orphan{Time: 6, Unix: 7},
		})
		close(hang)
		if err := a.End(&stream.Summary{}); err != nil {
			t.Fatal(err)
		}
		want := []stream.Record{
			&stream.Loss{Time: 1},
			&stream.Dropped{Time: 2, Unix: 3, Until: 6, Counts: stream.Counts{Boundaries: 5, Orphans: 1}},
		}
		if !reflect.DeepEqual(sink.records, want) {
			t.Errorf("the sink got %+v, want %+v", sink.records, want)
		}
		if got := a.Dropped(); got != (stream.Counts{Orphans: 1}) {
			t.Errorf("dropped here are %+v, want the orphan alone", got)
		}
	})
}

// A sink that hangs for good is given up, and what it lacks is told.
func TestAsyncHangs(t *testing.T) {
	for _, test := range []struct {
		name  string
		hangs func(*hanging)
		given int
		lacks string
	}{
		{"in a record", func(h *hanging) { h.record = true }, 1000, "the last 1000 records and the end are missing: look"},
		{"in a flush", func(h *hanging) { h.flush = true }, 10, "the end is missing, and perhaps 10 records before: look"},
		{"in the end", func(h *hanging) { h.end = true }, 10, "the end is missing: look"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := hanging{until: make(chan bool)}
				test.hangs(&sink)
				a := start(t, &sink, stream.AsyncOptions{Name: "out.txt"})
				all := records(test.given)
				give(t, a, all)
				began := time.Now()
				err := a.End(&stream.Summary{})
				if took := time.Since(began); took < 2*time.Second || took > 3*time.Second {
					t.Errorf("gave up after %v", took)
				}
				var unwritten *stream.UnwrittenError
				if !errors.As(err, &unwritten) || !strings.Contains(err.Error(), "write out.txt: ") || !strings.Contains(err.Error(), test.lacks) {
					t.Errorf("error %v, want %q", err, test.lacks)
				}
				accounted(t, all, &sink.kept, a)
				before := len(sink.records)
				close(sink.until)
				synctest.Wait()
				if len(sink.records) > before+1 || sink.kept.end != nil {
					t.Error("the sink was called again after it was given up")
				}
				if again := a.Record(&stream.Loss{}); again != err || a.Flush() != err || a.End(&stream.Summary{}) != err {
					t.Errorf("then %v, want the same again", again)
				}
			})
		})
	}
}

// hanging is a sink that hangs in some call.
type hanging struct {
	kept
	record, flush, end bool
	until              chan bool
}

func (h *hanging) Record(r stream.Record) error { h.wait(h.record); return h.kept.Record(r) }
func (h *hanging) Flush() error                 { h.wait(h.flush); return h.kept.Flush() }

func (h *hanging) End(s *stream.Summary) error {
	h.wait(h.end)
	if h.end {
		return nil // what it does now is nobody's business any more
	}
	return h.kept.End(s)
}

func (h *hanging) wait(really bool) {
	if really {
		<-h.until
	}
}

// A slow sink that goes on is waited for, but not for ever.
func TestAsyncSlowEnd(t *testing.T) {
	for _, test := range []struct{ given, written int }{{20, 20}, {100, 31}} {
		synctest.Test(t, func(t *testing.T) {
			over := make(chan bool)
			sink := kept{before: func() error {
				select {
				case <-over:
				case <-time.After(1900 * time.Millisecond):
				}
				return nil
			}}
			a := start(t, &sink, stream.AsyncOptions{})
			all := records(test.given)
			give(t, a, all)
			began := time.Now()
			err := a.End(&stream.Summary{})
			synctest.Wait()
			if (err == nil) != (test.written == test.given) || time.Since(began) > 61*time.Second {
				t.Errorf("error %v after %v", err, time.Since(began))
			}
			if len(sink.records) != test.written {
				t.Errorf("%d of %d records were written, want %d", len(sink.records), test.given, test.written)
			}
			accounted(t, all, &sink, a)
			close(over) // the call that was given up ends
		})
	}
}

// Who has time waits for a sink that hangs, and is asked again and again.
func TestAsyncWaits(t *testing.T) {
	for _, test := range []struct {
		asked int // how often until the answer is no
		hangs time.Duration
		ended bool
	}{{1, time.Minute, false}, {3, time.Minute, false}, {100, time.Minute, true}} {
		synctest.Test(t, func(t *testing.T) {
			sink := hanging{record: true, until: make(chan bool)}
			time.AfterFunc(test.hangs, func() { close(sink.until) })
			asked := 0
			a := start(t, &sink, stream.AsyncOptions{Wait: func() bool { asked++; return asked < test.asked }})
			give(t, a, records(10))
			began := time.Now()
			err := a.End(&stream.Summary{})
			if took := time.Since(began); (err == nil) != test.ended || !test.ended && (took < time.Duration(asked)*2*time.Second || took > time.Duration(asked+1)*2*time.Second) {
				t.Errorf("%v after %v, asked %d times", err, took, asked)
			}
			if !test.ended && asked != test.asked {
				t.Errorf("asked %d times, want %d", asked, test.asked)
			}
			time.Sleep(test.hangs)
			synctest.Wait()
		})
	}
}

// An error of the sink ends its work and is returned from then on.
func TestAsyncFails(t *testing.T) {
	broken := errors.New("disk full")
	for _, at := range []int{0, 1, 255, 256, 257, 700} {
		synctest.Test(t, func(t *testing.T) {
			var sink kept
			sink.before = func() error {
				if len(sink.records) == at {
					return broken
				}
				return nil
			}
			a := start(t, &sink, stream.AsyncOptions{})
			var all []stream.Record
			for _, r := range records(1000) {
				if err := a.Record(r); err != nil {
					break // it has failed already
				}
				all = append(all, r)
			}
			_ = a.Flush()
			synctest.Wait()
			if err := a.Record(&stream.Loss{}); err != broken {
				t.Errorf("the next record returns %v", err)
			}
			if err := a.Flush(); err != broken {
				t.Errorf("the next flush returns %v", err)
			}
			if err := a.End(&stream.Summary{}); err != broken {
				t.Errorf("the end returns %v", err)
			}
			if len(sink.records) != at || sink.end != nil {
				t.Errorf("%d records after a failure at %d, end %v", len(sink.records), at, sink.end)
			}
			accounted(t, all, &sink, a)
		})
	}
}

// failing fails in one of its methods.
type failing struct {
	kept
	in  string
	err error
}

func (f *failing) fail(in string) error {
	if f.in == in {
		return f.err
	}
	return nil
}

func (f *failing) Start(s *stream.Start) error {
	return errors.Join(f.kept.Start(s), f.fail("start"))
}
func (f *failing) Record(r stream.Record) error {
	return errors.Join(f.kept.Record(r), f.fail("record"))
}
func (f *failing) Flush() error { return errors.Join(f.kept.Flush(), f.fail("flush")) }
func (f *failing) End(s *stream.Summary) error {
	return errors.Join(f.kept.End(s), f.fail("end"))
}

func TestAsyncFailsElsewhere(t *testing.T) {
	broken := errors.New("no space")
	a := stream.Async(&failing{in: "start", err: broken}, stream.AsyncOptions{})
	if err := a.Start(&stream.Start{}); !errors.Is(err, broken) {
		t.Errorf("a start that fails: %v", err)
	}
	if err := a.Record(&stream.Loss{}); !errors.Is(err, broken) {
		t.Errorf("a record after it: %v", err)
	}
	a.Stop()
	synctest.Test(t, func(t *testing.T) {
		for _, in := range []string{"flush", "end"} {
			a := start(t, &failing{in: in, err: broken}, stream.AsyncOptions{})
			if err := a.End(&stream.Summary{}); !errors.Is(err, broken) {
				t.Errorf("a %s that fails: %v", in, err)
			}
		}
	})
}

// A session that does not begin leaves no goroutine behind: the bubble would
// wait for it.
func TestAsyncStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink kept
		a := start(t, &sink, stream.AsyncOptions{})
		a.Stop()
		synctest.Wait()
		if sink.end != nil {
			t.Error("the sink was ended")
		}
	})
}

// counting is a sink that takes records and counts them.
type counting struct{ n atomic.Int64 }

func (*counting) Start(*stream.Start) error    { return nil }
func (c *counting) Record(stream.Record) error { c.n.Add(1); return nil }
func (*counting) Flush() error                 { return nil }
func (*counting) End(*stream.Summary) error    { return nil }
func (c *counting) await(n int64) {
	for c.n.Load() < n {
		runtime.Gosched()
	}
}

func TestAsyncDoesNotAllocate(t *testing.T) {
	var sink counting
	a := start(t, &sink, stream.AsyncOptions{})
	all := records(1000)
	var given int64
	round := func() {
		for _, r := range all {
			if err := a.Record(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Flush(); err != nil {
			t.Fatal(err)
		}
		given += int64(len(all))
		sink.await(given)
	}
	for range 20 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for %d records", n, len(all))
	}
	if err := a.End(&stream.Summary{}); err != nil {
		t.Fatal(err)
	}
}

// Memory grows to the bound while the sink hangs, and is given back.
func TestAsyncGivesMemoryBack(t *testing.T) {
	const bound = 50_000
	hang := make(chan bool)
	var sink counting
	a := start(t, &gated{&sink, hang}, stream.AsyncOptions{Records: bound})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	b := &stream.Boundary{Thread: thread}
	b.Attributes = []byte(`{"a":1}`)
	before := heap()
	for range 2 * bound {
		if err := a.Record(b); err != nil {
			t.Fatal(err)
		}
	}
	most := heap() - before
	if most < bound*100 || most > stream.DefaultAsyncBytes {
		t.Errorf("%d bytes for %d records that wait", most, bound)
	}
	close(hang)
	sink.await(bound)
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	if left := heap() - before; left > most/10 {
		t.Errorf("%d bytes are kept after %d", left, most)
	}
	if got := a.Dropped().Total(); got != bound {
		t.Errorf("%d records dropped, want %d", got, bound)
	}
	if err := a.End(&stream.Summary{}); err != nil {
		t.Fatal(err)
	}
}

// gated is a sink that waits until the gate is open.
type gated struct {
	*counting
	gate chan bool
}

func (g *gated) Record(r stream.Record) error { <-g.gate; return g.counting.Record(r) }

// BenchmarkAsync: one operation is one boundary given to a sink that keeps up.
func BenchmarkAsync(b *testing.B) {
	boundary := func(devices int) stream.Record {
		r := &stream.Boundary{Thread: thread, Marker: site}
		r.Attributes = []byte(`{"epoch":1,"loss":0.25,"file":"x"}`)
		for d := range devices {
			r.GPU = append(r.GPU, gpu.Reading{Device: d})
			r.ProcessGPU = append(r.ProcessGPU, gpu.ProcessReading{})
		}
		return r
	}
	for name, r := range map[string]stream.Record{"bare": boundary(0), "gpu": boundary(1), "gpus": boundary(8)} {
		b.Run(name, func(b *testing.B) {
			var sink counting
			a := stream.Async(&sink, stream.AsyncOptions{})
			if err := a.Start(&stream.Start{}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var n int64
			for b.Loop() {
				if err := a.Record(r); err != nil {
					b.Fatal(err)
				}
				if n++; n%1000 == 0 {
					if err := a.Flush(); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := a.End(&stream.Summary{}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(a.Dropped().Total())/float64(n), "dropped/op")
		})
	}
}

func TestTee(t *testing.T) {
	broken, worse := errors.New("broken"), errors.New("worse")
	var good kept
	late := failing{in: "record", err: broken}
	last := failing{in: "end", err: worse}
	sink := stream.Tee(&late, &good, &last)
	rs := records(3)
	if err := sink.Start(&stream.Start{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if err := sink.Record(r); !errors.Is(err, broken) {
			t.Errorf("record: %v", err)
		}
	}
	if err := sink.Flush(); !errors.Is(err, broken) {
		t.Errorf("flush: %v", err)
	}
	if err := sink.End(&stream.Summary{}); !errors.Is(err, broken) || errors.Is(err, worse) {
		t.Errorf("end: %v, want the first error", err)
	}
	if len(late.records) != 1 || len(good.records) != 3 || len(last.records) != 3 {
		t.Errorf("%d, %d and %d records", len(late.records), len(good.records), len(last.records))
	}
	for i, k := range []*kept{&late.kept, &good, &last.kept} {
		if !k.started || k.flushes != 1 || k.end == nil {
			t.Errorf("sink %d: started %v, %d flushes, end %v", i, k.started, k.flushes, k.end)
		}
	}
	first, second := failing{in: "start", err: broken}, kept{}
	if err := stream.Tee(&first, &second).Start(&stream.Start{}); !errors.Is(err, broken) || second.started {
		t.Errorf("a start that fails: %v; the next sink was started: %v", err, second.started)
	}
}

func TestCounts(t *testing.T) {
	all := records(100)
	var c stream.Counts
	for _, r := range all {
		c.Add(r)
	}
	kinds := []uint64{c.Boundaries, c.Violations, c.Orphans, c.Losses, c.ProcessChanges, c.Samples}
	if slices.Contains(kinds, 0) || c.Total() != 100 {
		t.Errorf("%+v, %d in all", c, c.Total())
	}
}
