// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/btf"

	"github.com/phasetrace/phasetrace/bpf"
	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
)

// compiled returns the types that the compiled programs were made with.
func compiled(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := bpf.LoadPhasetrace()
	if err != nil {
		t.Fatal(err)
	}
	return spec.Types
}

// field is a place in a struct, nested ones taken apart.
type field struct {
	name         string
	offset, size int
}

// compiledFields returns the fields of a struct of the programs, and fails
// where bytes lie between them that belong to none.
func compiledFields(t *testing.T, types *btf.Spec, name string) []field {
	t.Helper()
	var s *btf.Struct
	if err := types.TypeByName(name, &s); err != nil {
		t.Fatalf("struct %s: %v", name, err)
	}
	fields := flattenCompiled(t, s, 0, "")
	end := 0
	for _, f := range fields {
		if f.offset != end {
			t.Errorf("struct %s: %d bytes of padding before %s", name, f.offset-end, f.name)
		}
		end = f.offset + f.size
	}
	if end != int(s.Size) {
		t.Errorf("struct %s: its fields end at %d, its size is %d", name, end, s.Size)
	}
	return fields
}

func flattenCompiled(t *testing.T, s *btf.Struct, at int, prefix string) (out []field) {
	t.Helper()
	for _, m := range s.Members {
		offset := at + int(m.Offset.Bytes())
		if nested, ok := btf.As[*btf.Struct](m.Type); ok {
			out = append(out, flattenCompiled(t, nested, offset, prefix+m.Name+".")...)
			continue
		}
		size, err := btf.Sizeof(m.Type)
		if err != nil || m.BitfieldSize != 0 {
			t.Fatalf("%s%s has no size of its own: %v", prefix, m.Name, err)
		}
		out = append(out, field{prefix + m.Name, offset, size})
	}
	return out
}

// goFields returns the fields of the generated struct by the names that the
// compiled one has.
func goFields(s reflect.Type, at int, prefix string) (out []field) {
	for f := range s.Fields() {
		if f.Name == "_" {
			continue
		}
		offset, name := at+int(f.Offset), prefix+snake(f.Name)
		if f.Type.Kind() == reflect.Struct {
			out = append(out, goFields(f.Type, offset, name+".")...)
			continue
		}
		out = append(out, field{name, offset, int(f.Type.Size())})
	}
	return out
}

// snake is FormerTid as former_tid.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// What Go reads and writes by the generated structs lies where the compiled
// programs have it, field by field.
func TestStructsAreThoseOfThePrograms(t *testing.T) {
	types := compiled(t)
	structs := map[string]reflect.Type{
		"identity":      reflect.TypeFor[bpf.PhasetraceIdentity](),
		"string_slot":   reflect.TypeFor[bpf.PhasetraceStringSlot](),
		"constant_slot": reflect.TypeFor[bpf.PhasetraceConstantSlot](),
		"ring_header":   reflect.TypeFor[bpf.PhasetraceRingHeader](),
		"loss_key":      reflect.TypeFor[bpf.PhasetraceLossKey](),
		"exe_key":       reflect.TypeFor[bpf.PhasetraceExeKey](),
		"held_exec":     reflect.TypeFor[bpf.PhasetraceHeldExec](),
	}
	for _, r := range records {
		if r.decode != nil {
			structs[r.layout] = r.wire
		}
	}
	for name, wire := range structs {
		want, got := compiledFields(t, types, name), goFields(wire, 0, "")
		if !reflect.DeepEqual(want, got) {
			t.Errorf("struct %s:\ncompiled  %v\ngenerated %v", name, want, got)
		}
	}
}

// Every record begins with the same head, and no size is one that a ring or
// its reader cannot take.
func TestRecordsBeginAlike(t *testing.T) {
	types := compiled(t)
	head := []field{{"time", 0, 8}, {"tgid", 8, 4}, {"tid", 12, 4}, {"type", int(offType), 1}}
	for number, r := range records {
		if r.decode == nil {
			continue
		}
		fields := compiledFields(t, types, r.layout)[:len(head)]
		for i := range fields {
			fields[i].name = fields[i].name[strings.LastIndexByte(fields[i].name, '.')+1:]
		}
		if !reflect.DeepEqual(fields, head) {
			t.Errorf("%s begins with %v, want %v", r.layout, fields, head)
		}
		var s *btf.Struct
		if err := types.TypeByName(r.layout, &s); err != nil || r.size != int(s.Size) {
			t.Errorf("record %d is of %d bytes, %s of %d: %v", number, r.size, r.layout, s.Size, err)
		}
		if r.size%8 != 0 || r.size < smallestRecord || r.size > ringOverhang-lengthSize {
			t.Errorf("record %d is of %d bytes: want a multiple of 8 from %d to %d", number, r.size, smallestRecord, ringOverhang-lengthSize)
		}
	}
}

// The programs and the table have the same types of records.
func TestEveryRecordHasARow(t *testing.T) {
	var enum *btf.Enum
	if err := compiled(t).TypeByName("record_type", &enum); err != nil {
		t.Fatal(err)
	}
	want := make(map[uint64]string)
	for _, v := range enum.Values {
		want[v.Value] = v.Name
	}
	got := make(map[uint64]string)
	for number, r := range records {
		if r.decode != nil {
			got[uint64(number)] = "RECORD_" + strings.ToUpper(r.event)
		}
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("the programs have %v, the table %v", want, got)
	}
	for _, name := range event.Kinds() {
		if !slices.ContainsFunc(records[:], func(r recordType) bool { return r.event == name }) {
			t.Errorf("no record makes a %s", name)
		}
	}
}

// Sites' effects are what the programs take them for.
func TestEffectsAreThoseOfThePrograms(t *testing.T) {
	for _, effect := range []probe.Effect{probe.Enter, probe.Exit, probe.Point} {
		if got, want := records[markerType(effect)].event, effect.String(); got != want {
			t.Errorf("the record of effect %s is %s", want, got)
		}
	}
	var enum *btf.Enum
	if err := compiled(t).TypeByName("site_role", &enum); err != nil {
		t.Fatal(err)
	}
	for _, v := range enum.Values {
		if want := "ROLE_" + strings.ToUpper(probe.Effect(v.Value).String()); v.Name != want {
			t.Errorf("%s is %d, which is %s", v.Name, v.Value, want)
		}
	}
}

// Generated instructions fill type, lane and unreadable by one store of a word,
// and the state they fill has room for what they may write.
func TestHeaderIsOneWord(t *testing.T) {
	types := compiled(t)
	at := make(map[string]field)
	for _, f := range compiledFields(t, types, "marker_record") {
		at[f.name] = f
	}
	word := at["type"].offset
	if word%4 != 0 || at["lane"] != (field{"lane", word + 1, 1}) || at["unreadable"] != (field{"unreadable", word + 2, 2}) {
		t.Errorf("type, lane and unreadable are not one word: %v, %v, %v", at["type"], at["lane"], at["unreadable"])
	}
	if bits := 8 * at["unreadable"].size; bits < probe.MaxCaptures {
		t.Errorf("%d bits for %d captures", bits, probe.MaxCaptures)
	}
	var state *btf.Struct
	if err := types.TypeByName("thread_state", &state); err != nil {
		t.Fatal(err)
	}
	offsets := make(map[string]int16)
	for _, m := range state.Members {
		offsets[m.Name] = int16(m.Offset.Bytes())
	}
	want := map[string]int16{"rec": offHeader - int16(word), "used": offUsed, "payload": offPayload}
	for name, offset := range want {
		if offsets[name] != offset {
			t.Errorf("%s of the thread's state is at %d, instructions are made for %d", name, offsets[name], offset)
		}
	}
	if offUnreadable != offHeader+2 {
		t.Errorf("unreadable is at %d, instructions are made for %d", offHeader+2, offUnreadable)
	}
	var s bpf.PhasetraceThreadState
	if len(s.Lanes) != probe.MaxLanes || len(s.Payload) < probe.MaxCaptures*slotSize+probe.MaxString {
		t.Errorf("%d lanes, %d bytes of payload", len(s.Lanes), len(s.Payload))
	}
	if unsafe.Sizeof(uint64(0)) != uintptr(slotSize) {
		t.Errorf("a string's slot is of %d bytes, an integer's of 8", slotSize)
	}
	for _, s := range []siteSpec{{effect: probe.Enter, lane: 3}, {effect: probe.Exit}, {effect: probe.Point, lane: probe.NoLane}} {
		want := fmt.Sprintf("%d/%d", markerType(s.effect), s.lane)
		if got := fmt.Sprintf("%d/%d", s.header()&0xff, s.header()>>8); got != want {
			t.Errorf("the header of %v on lane %d is %s, want %s", s.effect, s.lane, got, want)
		}
	}
}
