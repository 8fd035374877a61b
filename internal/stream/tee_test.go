// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"errors"
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"
)

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
