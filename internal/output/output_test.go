// SPDX-License-Identifier: Apache-2.0

package output_test

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/phasetrace/phasetrace/internal/output"
	"github.com/phasetrace/phasetrace/internal/output/jsonl"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/output/text"
	"github.com/phasetrace/phasetrace/internal/trace"
)

// writer counts writes and fails from one on.
type writer struct {
	bytes.Buffer
	writes, failFrom int
	err              error
}

func (w *writer) Write(b []byte) (int, error) {
	w.writes++
	if w.failFrom > 0 && w.writes >= w.failFrom {
		return 0, w.err
	}
	return w.Buffer.Write(b)
}

func TestBuffer(t *testing.T) {
	var w writer
	b := output.NewBuffer(&w, "x")
	b.B = append(b.B, "small"...)
	if err := b.Spill(); err != nil || w.writes != 0 {
		t.Errorf("%d writes for a small record, %v", w.writes, err)
	}
	b.B = append(b.B, make([]byte, 5<<20)...)
	if err := b.Spill(); err != nil || w.writes != 1 || w.Len() != 5+5<<20 {
		t.Errorf("%d writes, %d bytes, %v", w.writes, w.Len(), err)
	}
	if cap(b.B) > 1<<20 {
		t.Errorf("%d bytes are kept after a long record", cap(b.B))
	}
	if err := b.Flush(); err != nil || w.writes != 1 {
		t.Errorf("%d writes after an empty flush, %v", w.writes, err)
	}
}

func TestErrorsStick(t *testing.T) {
	w := writer{failFrom: 2, err: syscall.ENOSPC}
	b := output.NewBuffer(&w, "out.jsonl")
	b.B = append(b.B, 'a')
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	b.B = append(b.B, 'b')
	first := b.Flush()
	if !errors.Is(first, syscall.ENOSPC) {
		t.Fatalf("error %v", first)
	}
	b.B = append(b.B, 'c')
	if err := b.Flush(); err != first || w.writes != 2 {
		t.Errorf("error %v after %d writes, want the first error and no more writes", err, w.writes)
	}
	if err := b.Spill(); err != first {
		t.Errorf("Spill returns %v", err)
	}
	for err, want := range map[error]string{
		syscall.ENOSPC: "write out: no space left on device: free some space",
		syscall.EPIPE:  "write out: broken pipe: the reader has gone",
		syscall.EFBIG:  "ulimit -f",
		syscall.EIO:    "dmesg",
		syscall.EBADF:  "write elsewhere",
	} {
		if got := output.WriteError("out", err).Error(); !strings.Contains(got, want) {
			t.Errorf("%q says nothing of %q", got, want)
		}
	}
}

// TestFullDisk writes every format to a device that is always full, and to a
// pipe that nobody reads.
func TestFullDisk(t *testing.T) {
	for name, open := range map[string]func(w *os.File) trace.Sink{
		"jsonl":   func(w *os.File) trace.Sink { return jsonl.New(w, "x") },
		"text":    func(w *os.File) trace.Sink { return text.New(w, "x", text.Options{}) },
		"summary": func(w *os.File) trace.Sink { return summary.New(w, summary.Options{}) },
	} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		if err := outputtest.Typical().Play(open(full)); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
			t.Errorf("%s on a full disk: %v", name, err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := outputtest.Typical().Play(open(w)); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s on a closed pipe: %v", name, err)
		}
	}
}

// spy notes the calls to a sink.
type spy struct {
	calls []any
	err   error
}

func (s *spy) note(v any) error { s.calls = append(s.calls, v); return s.err }

func (s *spy) Start(r *trace.Start) error           { return s.note(r) }
func (s *spy) Process(r *trace.ProcessChange) error { return s.note(r) }
func (s *spy) Boundary(r *trace.Boundary) error     { return s.note(r) }
func (s *spy) Violation(r *trace.Violation) error   { return s.note(r) }
func (s *spy) Orphan(r *trace.Orphan) error         { return s.note(r) }
func (s *spy) Loss(r *trace.Loss) error             { return s.note(r) }
func (s *spy) GPUSample(r *trace.GPUSample) error   { return s.note(r) }
func (s *spy) Flush() error                         { return s.note("flush") }
func (s *spy) End(r *trace.Summary) error           { return s.note(r) }

func TestMulti(t *testing.T) {
	session := outputtest.Typical()
	var alone, a, b spy
	for _, sink := range []trace.Sink{&alone, output.Multi(&a, &b), output.Multi()} {
		if err := session.Play(sink); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(alone, a) || !reflect.DeepEqual(a, b) {
		t.Error("the sinks were not handed the same")
	}
	if output.Multi(&a) != trace.Sink(&a) {
		t.Error("a tee of one sink is more than the sink")
	}
	broken, fine := spy{err: errors.New("broken")}, spy{}
	m := output.Multi(&broken, &fine)
	for _, err := range []error{m.Start(&session.Start), m.Flush(), m.End(&session.Summary)} {
		if !errors.Is(err, broken.err) {
			t.Errorf("error %v, want %v", err, broken.err)
		}
	}
	if len(fine.calls) != 3 {
		t.Errorf("%d calls to the sink behind a broken one, want 3", len(fine.calls))
	}
	b2 := session.Records[0].(*trace.Boundary)
	tee := output.Multi(summary.New(nil, summary.Options{}), summary.New(nil, summary.Options{}))
	if n := testing.AllocsPerRun(100, func() { _ = tee.Boundary(b2) }); n != 0 {
		t.Errorf("%v allocations a boundary", n)
	}
}
