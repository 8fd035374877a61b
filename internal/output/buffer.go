// SPDX-License-Identifier: Apache-2.0

package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

const (
	// flushAt is the number of bytes at which a buffer is written out by itself:
	// large enough that a system call is cheap per line, small enough to stay in
	// a CPU's cache.
	flushAt = 64 << 10
	// keepAt is the largest buffer kept after a very long line.
	keepAt = 1 << 20
)

// Buffer collects bytes for a writer. Callers append to B and call Spill after
// each record; nothing is written in the middle of a record shorter than 64 KiB.
//
// The first failure sticks: every later call returns it. A Buffer is for one
// goroutine and does not close the writer.
type Buffer struct {
	B    []byte
	w    io.Writer
	name string
	err  error
}

// NewBuffer returns a buffer over w. The name says in errors where the bytes
// go: a file's name or "standard output".
func NewBuffer(w io.Writer, name string) *Buffer {
	return &Buffer{B: make([]byte, 0, flushAt+flushAt/4), w: w, name: name}
}

// Spill writes the bytes out if there are many.
func (b *Buffer) Spill() error {
	if len(b.B) < flushAt {
		return b.err
	}
	return b.Flush()
}

// Flush writes the bytes out.
func (b *Buffer) Flush() error {
	if b.err == nil && len(b.B) > 0 {
		n, err := b.w.Write(b.B)
		if err == nil && n < len(b.B) {
			err = io.ErrShortWrite
		}
		b.err = WriteError(b.name, err)
	}
	if cap(b.B) > keepAt {
		b.B = make([]byte, 0, flushAt+flushAt/4)
	}
	b.B = b.B[:0]
	return b.err
}

// WriteError says where a write failed and what to do about it. It returns nil
// for nil.
func WriteError(name string, err error) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // the name is said once
	}
	return fmt.Errorf("write %s: %w: %s", name, err, advice(err))
}

func advice(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space, or write elsewhere"
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return "the reader has gone; write to a file to keep everything"
	case errors.Is(err, syscall.EFBIG):
		return "the file has reached its size limit; raise it (ulimit -f), or write elsewhere"
	case errors.Is(err, syscall.EIO):
		return "check the device (dmesg), or write elsewhere"
	}
	return "write elsewhere"
}
