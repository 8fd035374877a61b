// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/phasetrace/phasetrace/internal/stream"
)

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

// endOnly is a sink that takes no records.
type endOnly struct{ kept }

func (*endOnly) SummaryOnly() {}

// A sink of the summary alone is spared the records, however many there are, and
// none of them counts as dropped.
func TestAsyncSummaryOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink endOnly
		a := start(t, &sink, stream.AsyncOptions{Records: 1})
		give(t, a, records(1000))
		synctest.Wait()
		if err := a.End(&stream.Summary{SessionID: "s"}); err != nil {
			t.Fatal(err)
		}
		if len(sink.records) > 0 || a.Dropped() != (stream.Counts{}) || sink.end == nil || sink.end.SessionID != "s" {
			t.Errorf("%d records, %+v dropped, summary %+v", len(sink.records), a.Dropped(), sink.end)
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
// place where the sink is told of it.
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

// A Dropped from an earlier Async that is dropped itself still counts.
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

// A sink that is a little too slow misses few long stretches, not every other
// record: what it gets hangs together.
func TestAsyncDropsInFewGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan bool)
		sink := kept{before: func() error { <-hang; return nil }}
		a := start(t, &sink, stream.AsyncOptions{Records: 100})
		all := records(3000)
		for i, r := range all {
			give(t, a, []stream.Record{r})
			synctest.Wait()
			if i%3 == 0 { // it takes a third
				select {
				case hang <- true:
				default:
				}
			}
		}
		close(hang)
		if err := a.End(&stream.Summary{}); err != nil {
			t.Fatal(err)
		}
		accounted(t, all, &sink, a)
		gaps := 0
		for _, r := range sink.records {
			if _, ok := r.(*stream.Dropped); ok {
				gaps++
			}
		}
		if most := 3000/3/25 + 1; gaps == 0 || gaps > most {
			t.Errorf("%d gaps, want at most %d", gaps, most)
		}
	})
}
