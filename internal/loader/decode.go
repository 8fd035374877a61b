// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

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
const siteBits = 32 - MaxCaptures

var errShortRecord = errors.New("record is shorter than its type says")

const (
	stringTruncated  = uint16(bpf.PhasetraceStringFlagSTRING_TRUNCATED)
	stringUnreadable = uint16(bpf.PhasetraceStringFlagSTRING_UNREADABLE)
	stringNull       = uint16(bpf.PhasetraceStringFlagSTRING_NULL)
)

// decode fills e from one ring buffer record. specs tells which captures of
// a site are strings. Strings of e point into raw.
func decode(raw []byte, e *Event, shapes shapes) error {
	if len(raw) < recordSize {
		return errShortRecord
	}
	r := raw[:recordSize:recordSize]
	le := binary.LittleEndian
	e.Time = int64(le.Uint64(r[0:]))
	e.Seq = le.Uint64(r[8:])
	e.PID = le.Uint32(r[16:])
	e.TID = le.Uint32(r[20:])
	e.Site = le.Uint32(r[24:])
	e.Kind = Kind(r[28])
	e.Lane = r[29]
	e.NumValues = r[30]
	e.Role = Role(r[31])
	e.Depth = int32(le.Uint32(r[32:]))
	e.Low = int32(le.Uint32(r[36:]))
	e.VoluntarySwitches = le.Uint32(r[40:])
	e.InvoluntarySwitches = le.Uint32(r[44:])
	e.MinorFaults = le.Uint32(r[48:])
	e.MajorFaults = le.Uint32(r[52:])
	e.RSSPages = le.Uint32(r[56:])
	e.Aux = le.Uint32(r[60:])
	if e.Kind == KindMarker {
		unread := e.Site >> siteBits
		e.Site &= 1<<siteBits - 1
		return decodeValues(raw[recordSize:], unread, e, shapes)
	}
	if e.Kind > KindLibrary || e.Kind == 0 {
		return fmt.Errorf("unknown record type %d", e.Kind)
	}
	return decodeIdentity(raw[recordSize:], &e.Who)
}

func decodeValues(b []byte, unread uint32, e *Event, shapes shapes) error {
	shape, ok := shapes.of(e.Site)
	if !ok {
		return fmt.Errorf("record names site %d, which was never planned", e.Site)
	}
	n := int(e.NumValues)
	if n > MaxCaptures || n != int(shape.n) || len(b) < n*slotSize {
		return errShortRecord
	}
	text := b[n*slotSize:]
	for i := 0; i < n; i++ {
		slot := b[i*slotSize : i*slotSize+slotSize]
		v := &e.Values[i]
		if shape.strings&(1<<i) == 0 {
			*v = Value{Int: binary.LittleEndian.Uint64(slot), Unreadable: unread>>i&1 != 0}
			continue
		}
		length := int(binary.LittleEndian.Uint16(slot[0:]))
		offset := int(binary.LittleEndian.Uint16(slot[2:]))
		flags := binary.LittleEndian.Uint16(slot[4:])
		if offset+length > len(text) {
			return errShortRecord
		}
		*v = Value{
			Str:         text[offset : offset+length : offset+length],
			Truncated:   flags&stringTruncated != 0,
			Unreadable:  flags&stringUnreadable != 0,
			NullPointer: flags&stringNull != 0,
		}
	}
	return nil
}

func decodeIdentity(b []byte, who *Identity) error {
	if len(b) < identitySize {
		return errShortRecord
	}
	le := binary.LittleEndian
	comm := b[8:24:24]
	if end := bytes.IndexByte(comm, 0); end >= 0 {
		comm = comm[:end]
	}
	*who = Identity{
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
