// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"reflect"
	"unsafe"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/bpf"
)

// records is the table of what comes through the rings, by the type number of
// bpf/event.h.
var records = [...]recordType{
	bpf.PhasetraceRecordTypeRECORD_ENTER:        record("enter", "marker_record", (*decoder).hit),
	bpf.PhasetraceRecordTypeRECORD_EXIT:         record("exit", "marker_record", (*decoder).hit),
	bpf.PhasetraceRecordTypeRECORD_POINT:        record("point", "marker_record", (*decoder).hit),
	bpf.PhasetraceRecordTypeRECORD_THREAD:       record("thread", "thread_record", (*decoder).threadTold),
	bpf.PhasetraceRecordTypeRECORD_THREAD_EXIT:  record("thread_exit", "thread_exit_record", (*decoder).threadEnded),
	bpf.PhasetraceRecordTypeRECORD_PROCESS_EXIT: record("process_exit", "process_exit_record", (*decoder).processEnded),
	bpf.PhasetraceRecordTypeRECORD_EXEC:         record("exec", "exec_record", (*decoder).execed),
	bpf.PhasetraceRecordTypeRECORD_FORK:         record("fork", "fork_record", (*decoder).forked),
	bpf.PhasetraceRecordTypeRECORD_LIBRARY:      record("library", "library_record", (*decoder).libraryChanged),
	bpf.PhasetraceRecordTypeRECORD_FILE_START:   record("file_start", "file_start_record", (*decoder).fileStarted),
}

// recordType is one type of record. The generated struct is the only source of
// offsets and sizes; records_test.go holds it against the compiled programs.
type recordType struct {
	event  string       // what package event calls it
	layout string       // the struct of bpf/event.h
	wire   reflect.Type // the same, generated
	size   int          // of the struct in bytes: a record is no shorter
	// decode makes an event of a record of at least size bytes.
	decode func(d *decoder, raw []byte) (event.Event, error)
}

// record makes a row: T is the generated struct. decode gets the record as a T,
// and what follows it.
func record[T any](name, layout string, decode func(d *decoder, r *T, rest []byte) (event.Event, error)) recordType {
	size := int(unsafe.Sizeof(*new(T)))
	return recordType{
		event: name, layout: layout, wire: reflect.TypeFor[T](), size: size,
		decode: func(d *decoder, raw []byte) (event.Event, error) {
			return decode(d, (*T)(unsafe.Pointer(unsafe.SliceData(raw))), raw[size:])
		},
	}
}

// Every record begins alike: with its time, and its type at offType.
const (
	offType = unsafe.Offsetof(bpf.PhasetraceThreadRecord{}.Type)
	// smallestRecord is the size of the smallest record in bytes.
	smallestRecord = int(unsafe.Sizeof(bpf.PhasetraceFileStartRecord{}))
)

// slotSize is the size in bytes of a captured value in a marker's record; a
// string's slot says where the string is.
const slotSize = int(unsafe.Sizeof(bpf.PhasetraceStringSlot{}))

const (
	stringTruncated  = uint16(bpf.PhasetraceStringFlagSTRING_TRUNCATED)
	stringUnreadable = uint16(bpf.PhasetraceStringFlagSTRING_UNREADABLE)
	stringNull       = uint16(bpf.PhasetraceStringFlagSTRING_NULL)
	stringConstant   = uint16(bpf.PhasetraceStringFlagSTRING_CONSTANT)
)

// markerType is the type of the records of sites with an effect: the programs
// number them as package probe does.
func markerType(e probe.Effect) uint8 { return uint8(e) }
