// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/bpf"
)

// Sizes of the wire structs in bytes; layout_test.go holds them against the
// BTF of the compiled programs.
const (
	recordSize   = 64
	identitySize = 40
	slotSize     = 8
)

// siteBits is how many bits of a marker's site are its id; bit i above them
// says that integer i could not be read. 12 integers at most leave 20 bits.
const siteBits = 32 - probe.MaxCaptures

var errShortRecord = errors.New("record is shorter than its type says")

const (
	stringTruncated  = uint16(bpf.PhasetraceStringFlagSTRING_TRUNCATED)
	stringUnreadable = uint16(bpf.PhasetraceStringFlagSTRING_UNREADABLE)
	stringNull       = uint16(bpf.PhasetraceStringFlagSTRING_NULL)
)

// The record types of bpf/event.h.
const (
	typeMarker      = uint8(bpf.PhasetraceRecordTypeRECORD_MARKER)
	typeThread      = uint8(bpf.PhasetraceRecordTypeRECORD_THREAD)
	typeThreadExit  = uint8(bpf.PhasetraceRecordTypeRECORD_THREAD_EXIT)
	typeProcessExit = uint8(bpf.PhasetraceRecordTypeRECORD_PROCESS_EXIT)
	typeExec        = uint8(bpf.PhasetraceRecordTypeRECORD_EXEC)
	typeFork        = uint8(bpf.PhasetraceRecordTypeRECORD_FORK)
	typeLibrary     = uint8(bpf.PhasetraceRecordTypeRECORD_LIBRARY)
)

// decoder turns records into events, which it reuses: an event is valid until
// the next call.
type decoder struct {
	shapes      shapes
	marker      event.Marker
	thread      event.Thread
	threadExit  event.ThreadExit
	processExit event.ProcessExit
	exec        event.Exec
	fork        event.Fork
	library     event.Library
}

// decode turns one ring buffer record into an event. Strings of the event point
// into raw.
func (d *decoder) decode(raw []byte) (event.Event, error) {
	if len(raw) < recordSize {
		return nil, errShortRecord
	}
	r := raw[:recordSize:recordSize]
	le := binary.LittleEndian
	head := event.Head{Time: int64(le.Uint64(r[0:])), PID: le.Uint32(r[16:]), TID: le.Uint32(r[20:])}
	if r[28] == typeMarker {
		d.marker.Head = head
		return &d.marker, d.decodeMarker(r, raw[recordSize:])
	}
	return d.decodeLife(r[28], head, r, raw[recordSize:])
}

// decodeLife decodes what threads and processes live through.
func (d *decoder) decodeLife(kind uint8, head event.Head, r, identity []byte) (event.Event, error) {
	le := binary.LittleEndian
	switch kind {
	case typeThread:
		d.thread.Head = head
		return &d.thread, decodeIdentity(identity, &d.thread.Who)
	case typeThreadExit, typeProcessExit:
		e := &d.threadExit
		if kind == typeProcessExit {
			e = &d.processExit.ThreadExit
		}
		e.Head, e.Markers, e.Program = head, le.Uint64(r[8:]), le.Uint32(r[32:])
		if kind == typeThreadExit {
			return e, decodeIdentity(identity, &e.Who)
		}
		d.processExit.Status = le.Uint32(r[60:])
		return &d.processExit, decodeIdentity(identity, &e.Who)
	case typeExec:
		e := &d.exec
		e.Head, e.Markers, e.Program, e.Before = head, le.Uint64(r[8:]), le.Uint32(r[32:]), le.Uint32(r[36:])
		e.FormerTID = le.Uint32(r[60:])
		e.FormerStart = uint64(le.Uint32(r[44:]))<<32 | uint64(le.Uint32(r[40:]))
		e.File = event.File{Device: le.Uint32(r[24:]), Inode: uint64(le.Uint32(r[52:]))<<32 | uint64(le.Uint32(r[48:]))}
		return e, decodeIdentity(identity, &e.Who)
	case typeFork:
		e := &d.fork
		e.Head, e.Parent, e.Child = head, int(le.Uint32(r[24:])), le.Uint32(r[60:])
		return e, decodeIdentity(identity, &e.Who)
	case typeLibrary:
		d.library.Head = head
		return &d.library, decodeIdentity(identity, &d.library.Who)
	}
	return nil, fmt.Errorf("unknown record type %d", kind)
}

func (d *decoder) decodeMarker(r, payload []byte) error {
	e := &d.marker
	le := binary.LittleEndian
	e.Seq = le.Uint64(r[8:])
	site := le.Uint32(r[24:])
	e.Site = site & (1<<siteBits - 1)
	e.Lane, e.NumValues, e.Effect = r[29], r[30], probe.Effect(r[31])
	e.Depth = int32(le.Uint32(r[32:]))
	e.Low = int32(le.Uint32(r[36:]))
	e.VoluntarySwitches = le.Uint32(r[40:])
	e.InvoluntarySwitches = le.Uint32(r[44:])
	e.MinorFaults = le.Uint32(r[48:])
	e.MajorFaults = le.Uint32(r[52:])
	e.ResidentPages = le.Uint32(r[56:])
	e.Program = le.Uint32(r[60:])
	shape, ok := d.shapes.of(e.Site)
	if !ok {
		return fmt.Errorf("record names site %d, which was never planned", e.Site)
	}
	return decodeValues(payload, site>>siteBits, e, shape)
}

func decodeValues(b []byte, unread uint32, e *event.Marker, shape shape) error {
	n := int(e.NumValues)
	if n > probe.MaxCaptures || n != int(shape.n) || len(b) < n*slotSize {
		return errShortRecord
	}
	text := b[n*slotSize:]
	for i := range n {
		slot := b[i*slotSize : i*slotSize+slotSize]
		v := &e.Values[i]
		if shape.strings&(1<<i) == 0 {
			*v = event.Value{Int: binary.LittleEndian.Uint64(slot), Unreadable: unread>>i&1 != 0}
			continue
		}
		length := int(binary.LittleEndian.Uint16(slot[0:]))
		offset := int(binary.LittleEndian.Uint16(slot[2:]))
		flags := binary.LittleEndian.Uint16(slot[4:])
		if offset+length > len(text) {
			return errShortRecord
		}
		*v = event.Value{
			Str:         text[offset : offset+length : offset+length],
			Truncated:   flags&stringTruncated != 0,
			Unreadable:  flags&stringUnreadable != 0,
			NullPointer: flags&stringNull != 0,
		}
	}
	return nil
}

func decodeIdentity(b []byte, who *event.Identity) error {
	if len(b) < identitySize {
		return errShortRecord
	}
	le := binary.LittleEndian
	comm := b[8:24:24]
	if end := bytes.IndexByte(comm, 0); end >= 0 {
		comm = comm[:end]
	}
	*who = event.Identity{
		StartTime: le.Uint64(b[0:]),
		Comm:      comm,
		ViewPID:   int(le.Uint32(b[24:])),
		ViewTID:   int(le.Uint32(b[28:])),
		InnerPID:  int(le.Uint32(b[32:])),
		InnerTID:  int(le.Uint32(b[36:])),
	}
	return nil
}

// shape is what decoding needs to know of a site.
type shape struct {
	known   bool
	effect  probe.Effect
	lane    uint8
	n       uint8
	strings uint16 // bit i: capture i is a string
}

// shapes is indexed by site id.
type shapes []shape

func (s shapes) of(site uint32) (shape, bool) {
	if int64(site) >= int64(len(s)) || !s[site].known {
		return shape{}, false
	}
	return s[site], true
}
