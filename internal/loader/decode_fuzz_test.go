// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/phasetrace/phasetrace/bpf"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// FuzzDecode decodes whatever lies in a ring: it never panics, what it makes is
// what the type says, and every string of an event lies within the record it
// came in.
func FuzzDecode(f *testing.F) {
	for number, c := range decodeCases() {
		f.Add(c.raw)
		f.Add(c.raw[:records[number].size-1])
		f.Add(append(c.raw[:len(c.raw):len(c.raw)], "more than the type says"...))
	}
	enter := bpf.PhasetraceMarkerRecord{Type: uint8(bpf.PhasetraceRecordTypeRECORD_ENTER)}
	f.Add(wire(enter, payload("abc", 0, textAt(16, 3, stringTruncated))...))
	f.Add(wire(enter, payload("short", 7, textAt(0xffff, 0xffff, 0))...))
	enter.Site, enter.Unreadable = 3, 0xffff
	f.Add(wire(enter, make([]byte, probe.MaxCaptures*slotSize)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := decoder{shapes: testShapes}
		ev, err := d.decode(raw)
		if err != nil {
			if ev != nil {
				t.Fatalf("%v beside the error %v", ev, err)
			}
			return
		}
		number := raw[offType]
		if len(raw) < records[number].size {
			t.Fatalf("a record of %d bytes is a %s", len(raw), records[number].event)
		}
		if h := ev.Common(); h.Time != int64(binary.LittleEndian.Uint64(raw)) {
			t.Fatalf("time %d, the record says %d", h.Time, binary.LittleEndian.Uint64(raw))
		}
		if comm := name(ev); len(comm) > 0 && !within(comm, raw) {
			t.Fatal("the thread's name lies outside the record")
		}
		if e, ok := ev.(*event.Marker); ok {
			if markerType(e.Effect) != number {
				t.Fatalf("a record of type %d is a %v", number, e.Effect)
			}
			checkValues(t, e, raw)
		}
	})
}

// name returns the name of the thread in an event, nil for markers.
func name(ev event.Event) []byte {
	switch ev := ev.(type) {
	case *event.Thread:
		return ev.Who.Comm
	case *event.ThreadExit:
		return ev.Who.Comm
	case *event.ProcessExit:
		return ev.Who.Comm
	case *event.Exec:
		return ev.Who.Comm
	case *event.Fork:
		return ev.Who.Comm
	case *event.Library:
		return ev.Who.Comm
	}
	return nil
}

func checkValues(t *testing.T, e *event.Marker, raw []byte) {
	t.Helper()
	shape := testShapes[e.Site]
	if !shape.known || e.NumValues != shape.n {
		t.Fatalf("site %d with %d values was accepted", e.Site, e.NumValues)
	}
	slots := raw[unsafe.Sizeof(bpf.PhasetraceMarkerRecord{}):]
	for i, v := range e.Values[:e.NumValues] {
		if shape.strings>>i&1 == 0 {
			want := binary.LittleEndian.Uint64(slots[slotSize*i:])
			if v.Int != want || v.Str != nil || v.NullPointer || v.Truncated {
				t.Fatalf("value %d is %+v, the record says %d", i, v, want)
			}
			continue
		}
		if v.Str == nil || v.Int != 0 {
			t.Fatalf("value %d is %+v, the site captures a string there", i, v)
		}
		if len(v.Str) > 0 && !within(v.Str, slots[slotSize*int(e.NumValues):]) {
			t.Fatalf("string %d lies outside the record's text", i)
		}
	}
}

func within(part, whole []byte) bool {
	if len(whole) == 0 {
		return false
	}
	p, w := uintptr(unsafe.Pointer(&part[0])), uintptr(unsafe.Pointer(&whole[0]))
	return p >= w && p+uintptr(len(part)) <= w+uintptr(len(whole))
}
