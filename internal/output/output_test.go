// SPDX-License-Identifier: Apache-2.0

package output_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/phasetrace/phasetrace/internal/output"
	"github.com/phasetrace/phasetrace/internal/output/jsonl"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/output/summary"
	"github.com/phasetrace/phasetrace/internal/output/text"
	"github.com/phasetrace/phasetrace/internal/stream"
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
	for name, open := range map[string]func(w *os.File) stream.Sink{
		"jsonl":   func(w *os.File) stream.Sink { return jsonl.New(w, "x") },
		"text":    func(w *os.File) stream.Sink { return text.New(w, "x", text.Options{}) },
		"summary": func(w *os.File) stream.Sink { return summary.New(w, summary.Options{}) },
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
