// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// wire builds a marker record by hand: header, slots, strings.
func wire(site uint32, n int, slots []uint64, text string) []byte {
	b := make([]byte, recordSize)
	binary.LittleEndian.PutUint64(b[0:], 12345)
	binary.LittleEndian.PutUint32(b[24:], site)
	b[28], b[30], b[31] = typeMarker, byte(n), byte(probe.Enter)
	for _, s := range slots {
		b = binary.LittleEndian.AppendUint64(b, s)
	}
	return append(b, text...)
}

// FuzzDecode decodes whatever lies in a ring: it never panics, and every string
// of an event lies within the record it came in.
func FuzzDecode(f *testing.F) {
	sites := shapes{
		{known: true, n: 2, strings: 0b10},
		{},
		{known: true, n: 0},
		{known: true, n: probe.MaxCaptures, strings: 0b101010101010},
	}
	f.Add(wire(0, 2, []uint64{7, 5 | 0<<16}, "phase"))
	f.Add(wire(0|1<<siteBits, 2, []uint64{0, 3 | 2<<16 | 1<<32}, "xxabc"))
	f.Add(wire(2, 0, nil, ""))
	f.Add(wire(1, 0, nil, ""))
	f.Add(wire(0, 2, []uint64{7, 0xffff | 0xffff<<16}, "short"))
	f.Add(make([]byte, recordSize+identitySize))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := decoder{shapes: sites}
		ev, err := d.decode(raw)
		if err != nil {
			return
		}
		e, ok := ev.(*event.Marker)
		if !ok {
			if len(raw) < recordSize+identitySize {
				t.Fatalf("a record of %d bytes has an identity", len(raw))
			}
			return
		}
		shape := sites[e.Site]
		if !shape.known || int(e.NumValues) != int(shape.n) {
			t.Fatalf("site %d with %d values was accepted", e.Site, e.NumValues)
		}
		for i, v := range e.Values[:e.NumValues] {
			if shape.strings>>i&1 == 0 {
				want := binary.LittleEndian.Uint64(raw[recordSize+8*i:])
				if v.Int != want || v.Str != nil {
					t.Fatalf("value %d is %+v, the record says %d", i, v, want)
				}
				continue
			}
			if len(v.Str) > 0 && !within(v.Str, raw) {
				t.Fatalf("string %d lies outside the record", i)
			}
		}
	})
}

func within(part, whole []byte) bool {
	p, w := uintptr(unsafe.Pointer(&part[0])), uintptr(unsafe.Pointer(&whole[0]))
	return p >= w && p+uintptr(len(part)) <= w+uintptr(len(whole))
}
