// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

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
			for range random.IntN(20) {
				b.ExitAttributes = append(b.ExitAttributes, byte('A'+random.IntN(26)))
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

// give hands records on as the engine does: with buffers that are reused.
func give(t *testing.T, a stream.Sink, rs []stream.Record) {
	t.Helper()
	for _, r := range rs {
		lent := stream.Clone(r)
		if err := a.Record(lent); err != nil {
			t.Fatal(err)
		}
		if b, ok := lent.(*stream.Boundary); ok {
			clear(b.Attributes)
			clear(b.ExitAttributes)
			clear(b.GPU)
			clear(b.ProcessGPU)
			*b = stream.Boundary{}
		}
	}
}
