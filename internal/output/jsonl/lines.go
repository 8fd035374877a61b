// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"bytes"
	"errors"
	"io"
)

const (
	readAt = 256 << 10 // bytes at a time
	// maxLine bounds a line, in bytes. The longest is session_end, with some
	// hundred bytes for each path.
	maxLine = 1 << 30
)

var errLongLine = errors.New("a line of more than 1 GiB: not written by phasetrace")

// lines splits a reader's bytes at line ends.
type lines struct {
	r        io.Reader
	buf      []byte
	from, to int // the part of buf not yet returned
	searched int // up to where there is no line end
	err      error
	whole    bool // the last line had its end
}

// next returns a line without its end, valid until the next call, and io.EOF when
// there is none. It calls idle before it waits for the reader.
func (l *lines) next(idle func() error) ([]byte, error) {
	for {
		if n := bytes.IndexByte(l.buf[l.searched:l.to], '\n'); n >= 0 {
			line := l.buf[l.from : l.searched+n]
			l.from = l.searched + n + 1
			l.searched, l.whole = l.from, true
			return line, nil
		}
		l.searched = l.to
		if l.err == io.EOF && l.from < l.to {
			line := l.buf[l.from:l.to]
			l.from, l.whole = l.to, false
			return line, nil
		}
		if l.err != nil {
			return nil, l.err
		}
		if err := idle(); err != nil {
			return nil, err
		}
		l.fill()
	}
}

// fill reads more bytes into buf.
func (l *lines) fill() {
	if l.from > 0 {
		copy(l.buf, l.buf[l.from:l.to])
		l.to, l.searched, l.from = l.to-l.from, l.searched-l.from, 0
	}
	if len(l.buf)-l.to < readAt/2 {
		if l.to > maxLine {
			l.err = errLongLine
			return
		}
		bigger := make([]byte, max(readAt, 2*len(l.buf)))
		copy(bigger, l.buf[:l.to])
		l.buf = bigger
	}
	n, err := l.r.Read(l.buf[l.to:])
	l.to += n
	l.err = err
}
