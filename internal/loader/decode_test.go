// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/bpf"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// wire returns a record as a program writes it: the struct, then what follows.
func wire[T any](r T, rest ...byte) []byte {
	return append(append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r))...), rest...)
}

// payload is the slots of a marker and the bytes of its strings.
func payload(text string, slots ...uint64) []byte {
	var b []byte
	for _, s := range slots {
		b = binary.LittleEndian.AppendUint64(b, s)
	}
	return append(b, text...)
}

// textAt is the slot of a string.
func textAt(offset, length, flags uint16) uint64 {
	return uint64(length) | uint64(offset)<<16 | uint64(flags)<<32
}

// testShapes are the sites of the tests of decoding.
var testShapes = shapes{
	{known: true, n: 2, strings: 0b10},
	{},
	{known: true, n: 0},
	{known: true, n: probe.MaxCaptures, strings: 0b101010101010},
	{known: true, n: 1},
}

func wireIdentity() bpf.PhasetraceIdentity {
	who := bpf.PhasetraceIdentity{StartTime: 1 << 40, ViewTgid: 21, ViewTid: 22, InnerTgid: 23, InnerTid: 24}
	for i, c := range "worker" {
		who.Comm[i] = int8(c)
	}
	return who
}

func wantIdentity() event.Identity {
	return event.Identity{StartTime: 1 << 40, Comm: []byte("worker"), ViewPID: 21, ViewTID: 22, InnerPID: 23, InnerTID: 24}
}

// decodeCase is a record, every field of which is its own, and its event.
type decodeCase struct {
	raw  []byte
	want event.Event
}

// decodeCases has one case for each row of the table, by its number.
func decodeCases() map[uint8]decodeCase {
	const time = 1<<60 + 5
	head := event.Head{Time: time, PID: 11, TID: 12}
	marker := bpf.PhasetraceMarkerRecord{
		Time: time, Tgid: 11, Tid: 12, Type: uint8(bpf.PhasetraceRecordTypeRECORD_ENTER), Lane: 3, Unreadable: 0, Site: 0,
		Seq: 1 << 33, Depth: -4, Low: -5, VoluntarySwitches: 6, InvoluntarySwitches: 7, MinorFaults: 8, MajorFaults: 9,
		RssPages: 10, Program: 13,
	}
	hit := event.Marker{
		Head: head, Site: 0, Effect: probe.Enter, Lane: 3, Seq: 1 << 33, Depth: -4, Low: -5, VoluntarySwitches: 6,
		InvoluntarySwitches: 7, MinorFaults: 8, MajorFaults: 9, ResidentPages: 10, Program: 13, NumValues: 2,
	}
	hit.Values[0], hit.Values[1] = event.Value{Int: 7}, event.Value{Str: []byte("phase"), Truncated: true}
	enter := wire(marker, payload("phase", 7, textAt(16, 5, stringTruncated))...)

	exit, point := hit, hit
	marker.Type, marker.Site, marker.Unreadable = uint8(bpf.PhasetraceRecordTypeRECORD_EXIT), 4, 1
	exit.Effect, exit.Site, exit.NumValues = probe.Exit, 4, 1
	exit.Values = [probe.MaxCaptures]event.Value{{Unreadable: true}}
	left := wire(marker, payload("", 0)...)

	marker.Type, marker.Site, marker.Lane, marker.Unreadable = uint8(bpf.PhasetraceRecordTypeRECORD_POINT), 2, probe.NoLane, 0
	point.Effect, point.Site, point.Lane, point.NumValues = probe.Point, 2, probe.NoLane, 0
	point.Values = [probe.MaxCaptures]event.Value{}

	ended := bpf.PhasetraceThreadExitRecord{Time: time, Tgid: 11, Tid: 12, Type: uint8(bpf.PhasetraceRecordTypeRECORD_THREAD_EXIT), Program: 13, Who: wireIdentity(), Markers: 1 << 34}
	last := ended
	last.Type = uint8(bpf.PhasetraceRecordTypeRECORD_PROCESS_EXIT)
	wantEnded := event.ThreadExit{Head: head, Who: wantIdentity(), Markers: 1 << 34, Program: 13}
	return map[uint8]decodeCase{
		uint8(bpf.PhasetraceRecordTypeRECORD_ENTER): {enter, &hit},
		uint8(bpf.PhasetraceRecordTypeRECORD_EXIT):  {left, &exit},
		uint8(bpf.PhasetraceRecordTypeRECORD_POINT): {wire(marker), &point},
		uint8(bpf.PhasetraceRecordTypeRECORD_THREAD): {
			wire(bpf.PhasetraceThreadRecord{
				Time: time, Tgid: 11, Tid: 12, Type: uint8(bpf.PhasetraceRecordTypeRECORD_THREAD), Who: wireIdentity(),
				Arguments: [128]int8{'a', ':', ' ', 'b', 0, 'x'}, ArgumentsLen: 5, ArgumentsSize: 19,
			}),
			&event.Thread{Head: head, Who: wantIdentity(), Arguments: []byte("a: b\x00"), ArgumentsSize: 19},
		},
		uint8(bpf.PhasetraceRecordTypeRECORD_THREAD_EXIT): {wire(ended), &wantEnded},
		uint8(bpf.PhasetraceRecordTypeRECORD_PROCESS_EXIT): {
			wire(bpf.PhasetraceProcessExitRecord{Thread: last, Status: 14, CpuTime: 1 << 35}), &event.ProcessExit{ThreadExit: wantEnded, Status: 14, CPUTime: 1 << 35},
		},
		uint8(bpf.PhasetraceRecordTypeRECORD_EXEC): {
			wire(bpf.PhasetraceExecRecord{
				Time: time, Tgid: 11, Tid: 12, Type: uint8(bpf.PhasetraceRecordTypeRECORD_EXEC), Program: 13, Who: wireIdentity(),
				Markers: 1 << 34, FormerStart: 1 << 35, FormerTid: 15, Before: 16,
				File: bpf.PhasetraceExeKey{Ino: 1 << 36, Changed: 1 << 37, Size: 1 << 38, Dev: 17, Generation: 18},
			}),
			&event.Exec{
				Head: head, Who: wantIdentity(), FormerTID: 15, FormerStart: 1 << 35, Markers: 1 << 34, Before: 16, Program: 13,
				File: event.File{Device: 17, Generation: 18, Inode: 1 << 36, Changed: 1 << 37, Size: 1 << 38},
			},
		},
		uint8(bpf.PhasetraceRecordTypeRECORD_FORK): {
			wire(bpf.PhasetraceForkRecord{Time: time, Tgid: 11, Tid: 12, Type: uint8(bpf.PhasetraceRecordTypeRECORD_FORK), Child: 18, Who: wireIdentity(), Parent: 19}),
			&event.Fork{Head: head, Parent: 19, Child: 18, Who: wantIdentity()},
		},
		uint8(bpf.PhasetraceRecordTypeRECORD_LIBRARY): {
			wire(bpf.PhasetraceLibraryRecord{
				Time: time, Tgid: 11, Tid: 12, Type: uint8(bpf.PhasetraceRecordTypeRECORD_LIBRARY), Unnamed: 1, Who: wireIdentity(),
				Name: [256]int8{'/', 'l', 'i', 'b'},
			}),
			&event.Library{Head: head, Who: wantIdentity(), Name: []byte("/lib"), Unnamed: true},
		},
		uint8(bpf.PhasetraceRecordTypeRECORD_FILE_START): {
			wire(bpf.PhasetraceFileStartRecord{Time: time, Tgid: 11, Tid: 12, Type: uint8(bpf.PhasetraceRecordTypeRECORD_FILE_START), Who: wireIdentity()}),
			&event.FileStart{Head: head, Who: wantIdentity()},
		},
	}
}

// Every field of every record arrives in its event, and nowhere else.
func TestDecode(t *testing.T) {
	cases := decodeCases()
	for number, r := range records {
		if r.decode == nil {
			continue
		}
		t.Run(r.event, func(t *testing.T) {
			c, ok := cases[uint8(number)]
			if !ok {
				t.Fatal("the table has a row without a case")
			}
			d := decoder{shapes: testShapes}
			got, err := d.decode(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if text, err := event.Append(nil, got); err != nil || strings.Fields(string(text))[1] != r.event {
				t.Errorf("its text is %q, error %v", text, err)
			}
			for n := range r.size {
				if ev, err := d.decode(c.raw[:n]); !errors.Is(err, errShortRecord) || ev != nil {
					t.Fatalf("the first %d bytes are %v, error %v", n, ev, err)
				}
			}
		})
	}
}

// What no program writes is refused, each for its own reason.
func TestDecodeRefuses(t *testing.T) {
	enter := func(site uint32, rest []byte) []byte {
		return wire(bpf.PhasetraceMarkerRecord{Type: uint8(bpf.PhasetraceRecordTypeRECORD_ENTER), Site: site}, rest...)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"no record", nil, errShortRecord},
		{"type 0", make([]byte, 200), errUnknownEvent},
		{"a type beyond the table", wire(bpf.PhasetraceThreadRecord{Type: uint8(len(records))}), errUnknownEvent},
		{"a site never planned", enter(1, nil), errUnknownSite},
		{"a site beyond all", enter(1<<31, nil), errUnknownSite},
		{"too few slots", enter(0, payload("", 7)), errShortRecord},
		{"a string that ends beyond the record", enter(0, payload("phase", 7, textAt(16, 6, 0))), errOtherLayout},
		{"a string in the slots", enter(0, payload("phase", 7, textAt(15, 5, 0))), errOtherLayout},
		{"a string that ends too early", enter(0, payload("phase", 7, textAt(16, 4, 0))), errOtherLayout},
		{"a string that begins too late", enter(0, payload("phase", 7, textAt(17, 4, 0))), errOtherLayout},
		{"a value too many", enter(4, payload("", 7, 8)), errOtherLayout},
	} {
		d := decoder{shapes: testShapes}
		if ev, err := d.decode(c.raw); !errors.Is(err, c.want) || ev != nil {
			t.Errorf("%s: event %v, error %v; want %v", c.name, ev, err, c.want)
		}
	}
}

// A string without bytes is empty wherever its slot points.
func TestDecodeEmptyString(t *testing.T) {
	d := decoder{shapes: testShapes}
	for _, slot := range []uint64{textAt(0, 0, stringNull), textAt(0xffff, 0, stringUnreadable), textAt(16, 0, 0)} {
		raw := wire(bpf.PhasetraceMarkerRecord{Type: uint8(bpf.PhasetraceRecordTypeRECORD_ENTER)}, payload("", 7, slot)...)
		if _, err := d.decode(raw); err != nil {
			t.Errorf("slot %#x: %v", slot, err)
		}
		v := d.marker.Values[1]
		if v.Str == nil || len(v.Str) > 0 || v.NullPointer != (uint16(slot>>32) == stringNull) || v.Unreadable != (uint16(slot>>32) == stringUnreadable) {
			t.Errorf("slot %#x is %+v", slot, v)
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	d := decoder{shapes: testShapes}
	for number, c := range decodeCases() {
		n := testing.AllocsPerRun(100, func() {
			if _, err := d.decode(c.raw); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations, want none", records[number].event, n)
		}
	}
}

// BenchmarkDecode decodes one record.
// exitWithValues is the record of an exit that tells an integer and a string.
func exitWithValues() []byte {
	raw := bytes.Clone(decodeCases()[uint8(bpf.PhasetraceRecordTypeRECORD_ENTER)].raw)
	raw[offType] = uint8(bpf.PhasetraceRecordTypeRECORD_EXIT)
	return raw
}

func TestDecodeExitWithValues(t *testing.T) {
	d, raw := decoder{shapes: testShapes}, exitWithValues()
	var hit *event.Marker
	if n := testing.AllocsPerRun(100, func() {
		ev, err := d.decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		hit = ev.(*event.Marker)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if hit.Effect != probe.Exit || hit.NumValues != 2 || hit.Values[0].Int != 7 || string(hit.Values[1].Str) != "phase" {
		t.Errorf("%+v", hit)
	}
}

func BenchmarkDecode(b *testing.B) {
	cases := decodeCases()
	b.Run("exit with values", func(b *testing.B) {
		d, raw := decoder{shapes: testShapes}, exitWithValues()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.decode(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	for number, r := range records {
		if r.decode == nil {
			continue
		}
		b.Run(r.event, func(b *testing.B) {
			d, raw := decoder{shapes: testShapes}, cases[uint8(number)].raw
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
