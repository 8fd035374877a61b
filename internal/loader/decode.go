// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/bpf"
)

var (
	errShortRecord  = errors.New("record is shorter than its type says")
	errOtherLayout  = errors.New("record does not hold what its site captures")
	errUnknownSite  = errors.New("record names a site that was never planned")
	errUnknownEvent = errors.New("record has an unknown type")
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
	fileStart   event.FileStart
}

// decode turns one record of a ring into an event. Strings of the event point
// into raw.
func (d *decoder) decode(raw []byte) (event.Event, error) {
	if len(raw) < smallestRecord {
		return nil, errShortRecord
	}
	number := int(raw[offType])
	if number >= len(records) || records[number].decode == nil {
		return nil, fmt.Errorf("%w: %d", errUnknownEvent, number)
	}
	t := &records[number]
	if len(raw) < t.size {
		return nil, errShortRecord
	}
	return t.decode(d, raw)
}

func head(time uint64, tgid, tid uint32) event.Head {
	return event.Head{Time: int64(time), PID: tgid, TID: tid}
}

func (d *decoder) hit(r *bpf.PhasetraceMarkerRecord, payload []byte) (event.Event, error) {
	e := &d.marker
	e.Effect = probe.Effect(r.Type) // see markerType
	e.Head = head(r.Time, r.Tgid, r.Tid)
	e.Site, e.Lane = r.Site, r.Lane
	e.Program, e.Seq = r.Program, r.Seq
	e.Depth, e.Low = r.Depth, r.Low
	e.VoluntarySwitches, e.InvoluntarySwitches = r.VoluntarySwitches, r.InvoluntarySwitches
	e.MinorFaults, e.MajorFaults = r.MinorFaults, r.MajorFaults
	e.ResidentPages = r.RssPages
	shape, ok := d.shapes.of(r.Site)
	if !ok {
		return nil, fmt.Errorf("%w: %d", errUnknownSite, r.Site)
	}
	if err := decodeValues(payload, r.Unreadable, e, shape); err != nil {
		return nil, err
	}
	return e, nil
}

// decodeValues decodes the slots and the strings behind them, which follow one
// another in the order of their slots: a record with more or less does not come
// from a site with this shape.
func decodeValues(payload []byte, unreadable uint16, e *event.Marker, shape shape) error {
	n := int(shape.n)
	end := n * slotSize // of the string before
	if len(payload) < end {
		return errShortRecord
	}
	e.NumValues = shape.n
	for i := range n {
		v := &e.Values[i]
		slot := payload[i*slotSize : (i+1)*slotSize]
		if shape.strings>>i&1 == 0 {
			*v = event.Value{Int: binary.LittleEndian.Uint64(slot), Unreadable: unreadable>>i&1 != 0}
			continue
		}
		s := (*bpf.PhasetraceStringSlot)(unsafe.Pointer(unsafe.SliceData(slot)))
		if s.Flags&stringConstant != 0 {
			if shape.texts == nil {
				return errOtherLayout
			}
			*v = shape.texts.value(i, (*bpf.PhasetraceConstantSlot)(unsafe.Pointer(s)).At)
			continue
		}
		begin := end
		if s.Len > 0 {
			end += int(s.Len)
			if int(s.Offset) != begin || end > len(payload) {
				return errOtherLayout
			}
		}
		*v = event.Value{
			Str:         payload[begin:end:end],
			Truncated:   s.Flags&stringTruncated != 0,
			Unreadable:  s.Flags&stringUnreadable != 0,
			NullPointer: s.Flags&stringNull != 0,
		}
	}
	if end != len(payload) {
		return errOtherLayout
	}
	return nil
}

func (d *decoder) threadTold(r *bpf.PhasetraceThreadRecord, _ []byte) (event.Event, error) {
	d.thread = event.Thread{
		Head: head(r.Time, r.Tgid, r.Tid), Who: identity(&r.Who),
		Arguments: bytesOf(r.Arguments[:])[:min(int(r.ArgumentsLen), len(r.Arguments))], ArgumentsSize: r.ArgumentsSize,
	}
	return &d.thread, nil
}

func (d *decoder) threadEnded(r *bpf.PhasetraceThreadExitRecord, _ []byte) (event.Event, error) {
	d.threadExit = threadExit(r)
	return &d.threadExit, nil
}

func (d *decoder) processEnded(r *bpf.PhasetraceProcessExitRecord, _ []byte) (event.Event, error) {
	d.processExit = event.ProcessExit{ThreadExit: threadExit(&r.Thread), Status: r.Status, CPUTime: r.CpuTime}
	return &d.processExit, nil
}

func threadExit(r *bpf.PhasetraceThreadExitRecord) event.ThreadExit {
	return event.ThreadExit{Head: head(r.Time, r.Tgid, r.Tid), Who: identity(&r.Who), Markers: r.Markers, Program: r.Program}
}

func (d *decoder) execed(r *bpf.PhasetraceExecRecord, _ []byte) (event.Event, error) {
	d.exec = event.Exec{
		Head: head(r.Time, r.Tgid, r.Tid), Who: identity(&r.Who),
		FormerTID: r.FormerTid, FormerStart: r.FormerStart,
		Markers: r.Markers, Before: r.Before, Program: r.Program,
		File: fileOf(r.File),
	}
	return &d.exec, nil
}

func (d *decoder) forked(r *bpf.PhasetraceForkRecord, _ []byte) (event.Event, error) {
	d.fork = event.Fork{Head: head(r.Time, r.Tgid, r.Tid), Parent: int(r.Parent), Child: r.Child, Who: identity(&r.Who)}
	return &d.fork, nil
}

func (d *decoder) libraryChanged(r *bpf.PhasetraceLibraryRecord, _ []byte) (event.Event, error) {
	d.library = event.Library{
		Head: head(r.Time, r.Tgid, r.Tid), Who: identity(&r.Who), Name: cString(r.Name[:]), Unnamed: r.Unnamed != 0,
	}
	return &d.library, nil
}

func (d *decoder) fileStarted(r *bpf.PhasetraceFileStartRecord, _ []byte) (event.Event, error) {
	d.fileStart = event.FileStart{Head: head(r.Time, r.Tgid, r.Tid), Who: identity(&r.Who)}
	return &d.fileStart, nil
}

// identity tells who a thread is; its name points into r.
func identity(r *bpf.PhasetraceIdentity) event.Identity {
	return event.Identity{
		StartTime: r.StartTime, Comm: cString(r.Comm[:]),
		ViewPID: int(r.ViewTgid), ViewTID: int(r.ViewTid),
		InnerPID: int(r.InnerTgid), InnerTID: int(r.InnerTid),
	}
}

// cString returns the bytes of a text up to its closing NUL. They belong to it.
func cString(c []int8) []byte {
	b := bytesOf(c)
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end:end]
	}
	return b
}

func bytesOf(c []int8) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(c))), len(c))
}

// shape is what decoding needs to know of a site.
type shape struct {
	known   bool
	n       uint8
	strings uint16 // bit i: capture i is a string
	texts   *texts // of its constant memory, nil for none
}

// keeping returns the shape of a site that is attached once more: what was attached
// before may tell of constant memory.
func (s shape) keeping(before shape) shape {
	if s.texts == nil || before.texts != nil {
		s.texts = before.texts
	}
	return s
}

// shapes is indexed by site id.
type shapes []shape

func (s shapes) of(site uint32) (shape, bool) {
	if int64(site) >= int64(len(s)) || !s[site].known {
		return shape{}, false
	}
	return s[site], true
}
