// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// A sink that hangs for good is given up, and what it lacks is reported.
func TestAsyncHangs(t *testing.T) {
	for _, test := range []struct {
		name  string
		hangs func(*hanging)
		given int
		lacks string
	}{
		{"in a record", func(h *hanging) { h.record = true }, 1000, "the last 1000 records and the end are missing: check"},
		{"in a flush", func(h *hanging) { h.flush = true }, 10, "the end is missing, and perhaps 10 records before: check"},
		{"in the end", func(h *hanging) { h.end = true }, 10, "the end is missing: check"},
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

// End waits for a slow sink that makes progress, but not forever.
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
