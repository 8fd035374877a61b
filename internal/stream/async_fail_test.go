// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/phasetrace/phasetrace/internal/stream"
)

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
