// SPDX-License-Identifier: Apache-2.0

package event

import (
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// kinds is the table of the events: their names and fields. It drives the text
// form.
var kinds = []kind{
	markerKind(probe.Enter),
	markerKind(probe.Exit),
	markerKind(probe.Point),
	kindOf[Thread]("thread", identity(func(e *Thread) *Identity { return &e.Who }), []field{
		text("args", func(e *Thread) *[]byte { return &e.Arguments }),
		number("args_size", func(e *Thread) *uint32 { return &e.ArgumentsSize }),
	}),
	kindOf[ThreadExit]("thread_exit", exit(func(e *ThreadExit) *ThreadExit { return e })),
	kindOf[ProcessExit]("process_exit", exit(func(e *ProcessExit) *ThreadExit { return &e.ThreadExit }), []field{
		number("status", func(e *ProcessExit) *uint32 { return &e.Status }),
		number("cpu", func(e *ProcessExit) *uint64 { return &e.CPUTime }),
	}),
	kindOf[Exec]("exec", identity(func(e *Exec) *Identity { return &e.Who }), []field{
		number("former_tid", func(e *Exec) *uint32 { return &e.FormerTID }),
		number("former_start", func(e *Exec) *uint64 { return &e.FormerStart }),
		number("markers", func(e *Exec) *uint64 { return &e.Markers }),
		number("before", func(e *Exec) *uint32 { return &e.Before }),
		number("prog", func(e *Exec) *uint32 { return &e.Program }),
		number("dev", func(e *Exec) *uint32 { return &e.File.Device }),
		number("ino", func(e *Exec) *uint64 { return &e.File.Inode }),
		number("gen", func(e *Exec) *uint32 { return &e.File.Generation }),
		number("changed", func(e *Exec) *uint64 { return &e.File.Changed }),
		number("size", func(e *Exec) *uint64 { return &e.File.Size }),
	}),
	kindOf[Fork]("fork", []field{
		number("parent", func(e *Fork) *int { return &e.Parent }),
		number("child", func(e *Fork) *uint32 { return &e.Child }),
	}, identity(func(e *Fork) *Identity { return &e.Who })),
	kindOf[Library]("library", identity(func(e *Library) *Identity { return &e.Who }), []field{
		text("name", func(e *Library) *[]byte { return &e.Name }),
		flag("unnamed", func(e *Library) *bool { return &e.Unnamed }),
	}),
	kindOf[FileStart]("file_start", identity(func(e *FileStart) *Identity { return &e.Who })),
}

// kind is one kind of event.
type kind struct {
	name   string
	make   func() Event
	is     func(Event) bool
	fields []field // beside the time
}

// field is one field of a kind. Its functions are for events of that kind only.
type field struct {
	name string
	// write appends the value's text, or nothing for a zero.
	write func(dst []byte, ev Event) []byte
	read  func(ev Event, text string) error
}

// kindOf makes the row of an event type T.
func kindOf[T any, E interface {
	*T
	Event
}](name string, fields ...[]field) kind {
	return kind{
		name: name,
		make: func() Event { return E(new(T)) },
		is: func(ev Event) bool {
			_, ok := ev.(E)
			return ok
		},
		fields: append(head(), slices.Concat(fields...)...),
	}
}

// markerKind makes the row of the markers of one effect.
func markerKind(effect probe.Effect) kind {
	k := kindOf[Marker](effect.String(), []field{
		number("site", func(e *Marker) *uint32 { return &e.Site }),
		lane(),
		number("prog", func(e *Marker) *uint32 { return &e.Program }),
		number("seq", func(e *Marker) *uint64 { return &e.Seq }),
		number("depth", func(e *Marker) *int32 { return &e.Depth }),
		number("low", func(e *Marker) *int32 { return &e.Low }),
		number("vcsw", func(e *Marker) *uint32 { return &e.VoluntarySwitches }),
		number("ivcsw", func(e *Marker) *uint32 { return &e.InvoluntarySwitches }),
		number("minflt", func(e *Marker) *uint32 { return &e.MinorFaults }),
		number("majflt", func(e *Marker) *uint32 { return &e.MajorFaults }),
		number("rss", func(e *Marker) *uint32 { return &e.ResidentPages }),
		{"values", appendValues, readValues},
	})
	k.make = func() Event { return &Marker{Effect: effect} }
	k.is = func(ev Event) bool {
		m, ok := ev.(*Marker)
		return ok && m.Effect == effect
	}
	return k
}

func head() []field {
	return []field{
		number("tid", func(e Event) *uint32 { return &e.Common().TID }),
		number("pid", func(e Event) *uint32 { return &e.Common().PID }),
	}
}

// identity makes the fields of an event that say who a thread is.
func identity[E Event](who func(E) *Identity) []field {
	return []field{
		number("start", func(e E) *uint64 { return &who(e).StartTime }),
		text("comm", func(e E) *[]byte { return &who(e).Comm }),
		number("view_pid", func(e E) *int { return &who(e).ViewPID }),
		number("view_tid", func(e E) *int { return &who(e).ViewTID }),
		number("inner_pid", func(e E) *int { return &who(e).InnerPID }),
		number("inner_tid", func(e E) *int { return &who(e).InnerTID }),
	}
}

// exit makes the fields of the end of a thread.
func exit[E Event](of func(E) *ThreadExit) []field {
	return append(identity(func(e E) *Identity { return &of(e).Who }),
		number("markers", func(e E) *uint64 { return &of(e).Markers }),
		number("prog", func(e E) *uint32 { return &of(e).Program }),
	)
}

func kindNamed(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// fieldNamed returns the place of a field, −1 if there is none of that name.
func (k *kind) fieldNamed(name string) int {
	return slices.IndexFunc(k.fields, func(f field) bool { return f.name == name })
}

func (k *kind) fieldNames() string {
	names := make([]string, len(k.fields))
	for i, f := range k.fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}
