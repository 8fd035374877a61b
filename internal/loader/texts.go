// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// texts are the strings in a site's constant memory that records have named. Each is
// read from the file once, and stands for its address from then on. For the goroutine
// that reads records.
type texts struct {
	constant *probe.Constant
	max      [probe.MaxCaptures]int // bytes to keep, by capture
	last     text                   // most sites have one
	known    map[textKey]event.Value
}

type textKey struct {
	capture int
	at      uint32
}

type text struct {
	textKey
	value event.Value
}

// maxTexts bounds the strings kept of one site: programs choose the addresses.
const maxTexts = 4096

func newTexts(s probe.Site) *texts {
	t := &texts{constant: s.Constant, last: text{textKey: textKey{capture: -1}}, known: make(map[textKey]event.Value)}
	for i, c := range s.Captures {
		t.max[i] = min(max(c.Max, 1), probe.MaxString)
	}
	return t
}

// value returns the string that begins so many bytes behind the first constant page.
func (t *texts) value(capture int, at uint32) event.Value {
	key := textKey{capture, at}
	if t.last.textKey == key {
		return t.last.value
	}
	v, ok := t.known[key]
	if !ok {
		v = t.read(capture, at)
		if len(t.known) >= maxTexts {
			clear(t.known)
		}
		t.known[key] = v
	}
	t.last = text{key, v}
	return v
}

// read reads a string from the file, as the kernel would from memory.
func (t *texts) read(capture int, at uint32) event.Value {
	buf := make([]byte, t.max[capture]+1) // one byte more than is kept, so that a cut is seen
	n, _ := t.constant.Read(buf, t.constant.Start+uint64(at))
	buf = buf[:n:n]
	if end := bytes.IndexByte(buf, 0); end >= 0 {
		return event.Value{Str: buf[:end:end]}
	}
	if n <= t.max[capture] {
		return event.Value{Unreadable: true}
	}
	return event.Value{Str: buf[: n-1 : n-1], Truncated: true}
}
