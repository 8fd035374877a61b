// SPDX-License-Identifier: Apache-2.0

package event

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// marker returns a marker with values.
func marker(m Marker, values ...Value) *Marker {
	m.NumValues = uint8(copy(m.Values[:], values))
	return &m
}

var worker = Identity{StartTime: 5, Comm: []byte("my worker"), ViewPID: 1, ViewTID: 2, InnerPID: 3, InnerTID: 4}

var texts = []struct {
	text  string
	event Event
}{
	{`0 exit`, &Marker{Effect: probe.Exit}},
	{
		`12 enter tid=11 pid=10 seq=3 depth=2 low=-1 values="step",7,null,-1`,
		marker(Marker{Head: Head{12, 10, 11}, Effect: probe.Enter, Seq: 3, Depth: 2, Low: -1},
			Value{Str: []byte("step")}, Value{Int: 7}, Value{NullPointer: true}, Value{Int: math.MaxUint64}),
	},
	{
		`12 exit site=4 lane=3 prog=9 vcsw=1 ivcsw=2 minflt=3 majflt=4 rss=4294967295 values=0,"","a b\n,=\"\xff"...,?,-5`,
		marker(Marker{Head: Head{Time: 12}, Effect: probe.Exit, Site: 4, Lane: 3, Program: 9, VoluntarySwitches: 1,
			InvoluntarySwitches: 2, MinorFaults: 3, MajorFaults: 4, ResidentPages: math.MaxUint32},
			Value{}, Value{Str: []byte{}}, Value{Str: []byte("a b\n,=\"\xff"), Truncated: true}, Value{Unreadable: true}, Value{Int: ^uint64(4)}),
	},
	{`-3 point lane=none`, &Marker{Head: Head{Time: -3}, Effect: probe.Point, Lane: probe.NoLane}},
	{
		`1 thread tid=11 pid=10 start=5 comm="my worker" view_pid=1 view_tid=2 inner_pid=3 inner_tid=4 args="a: b\x00" args_size=20`,
		&Thread{Head{1, 10, 11}, worker, []byte("a: b\x00"), 20},
	},
	{
		`1 thread_exit tid=11 pid=10 start=5 markers=18446744073709551615 prog=7`,
		&ThreadExit{Head{1, 10, 11}, Identity{StartTime: 5}, math.MaxUint64, 7},
	},
	{
		`1 process_exit tid=11 pid=10 start=5 markers=6 prog=7 status=256 cpu=8`,
		&ProcessExit{ThreadExit{Head{1, 10, 11}, Identity{StartTime: 5}, 6, 7}, 256, 8},
	},
	{
		`1 exec tid=10 pid=10 comm="sh" former_tid=11 former_start=5 markers=6 before=7 prog=8 dev=9 ino=12 gen=13 changed=14 size=15`,
		&Exec{Head{1, 10, 10}, Identity{Comm: []byte("sh")}, 11, 5, 6, 7, 8, File{9, 13, 12, 14, 15}},
	},
	{`1 fork tid=11 pid=10 parent=10 child=20 view_pid=20`, &Fork{Head{1, 10, 11}, 10, 20, Identity{ViewPID: 20}}},
	{`1 library tid=11 pid=10`, &Library{Head: Head{1, 10, 11}}},
	{`1 library tid=11 pid=10 name="/lib/a b.so" unnamed=yes`, &Library{Head: Head{1, 10, 11}, Name: []byte("/lib/a b.so"), Unnamed: true}},
	{`1 file_start tid=11 pid=10 view_pid=10`, &FileStart{Head: Head{1, 10, 11}, Who: Identity{ViewPID: 10}}},
}

func TestText(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range texts {
		got, err := Append([]byte("> "), c.event)
		if err != nil || string(got) != "> "+c.text {
			t.Errorf("Append: %q, error %v; want %q", got, err, "> "+c.text)
		}
		ev, err := Parse(c.text)
		if diff := cmp.Diff(c.event, ev); diff != "" || err != nil {
			t.Errorf("Parse %s: error %v\n%s", c.text, err, diff)
		}
		seen[strings.Fields(c.text)[1]] = true
	}
	for _, name := range Kinds() {
		if !seen[name] {
			t.Errorf("no text of a %s is tested", name)
		}
	}
}

// A line may have its fields in another order, and more blanks.
func TestParseLoosely(t *testing.T) {
	got, err := Parse("\t7  enter values=\"a  b\"   pid=10\tdepth=-1 ")
	want := marker(Marker{Head: Head{Time: 7, PID: 10}, Effect: probe.Enter, Depth: -1}, Value{Str: []byte("a  b")})
	if diff := cmp.Diff(Event(want), got); diff != "" || err != nil {
		t.Errorf("error %v\n%s", err, diff)
	}
}

func TestParseErrors(t *testing.T) {
	for line, want := range map[string]string{
		"":                                    "no time",
		"soon enter":                          "no time",
		"1":                                   `"" is no kind`,
		"1 marker":                            "no kind of event: the kinds are enter, exit, point, thread",
		"1 enter tid":                         "no field: want NAME=VALUE",
		"1 enter tid 5=3":                     "no field: want NAME=VALUE",
		"1 enter comm=\"x\"":                  `enter has no field "comm": it has tid, pid, site`,
		"1 enter tid=1 tid=1":                 "tid is there twice",
		"1 enter tid=":                        "field tid: \"\" is no number from 0 to 4294967295",
		"1 enter tid=-1":                      "no number from 0 to 4294967295",
		"1 enter tid=4294967296":              "no number from 0 to 4294967295",
		"1 enter lane=256":                    "no number from 0 to 255",
		"1 enter depth=3000000000":            "no number of 32 bits",
		"1 thread comm=x":                     "x is no quoted string",
		`1 thread comm="x"y`:                  "is no quoted string",
		`1 thread comm="x`:                    "a quote is not closed",
		"1 enter values=":                     `begins with no value`,
		"1 enter values=1,":                   `begins with no value`,
		"1 enter values=1 2":                  "no field",
		"1 enter values=1x":                   `"x" follows a value: want a comma`,
		"1 enter values=-":                    "begins with no value",
		"1 enter values=99999999999999999999": "does not fit into 64 bits",
		"1 enter values=1,2,3,4,5,6,7,8,9,10,11,12,13": "more than 12 values",
	} {
		ev, err := Parse(line)
		if err == nil || ev != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) is %v, error %v; want an error with %q", line, ev, err, want)
		}
	}
}

type stranger struct{ Head }

func TestAppendUnknown(t *testing.T) {
	for _, ev := range []Event{&stranger{}, &Marker{}, &Marker{Effect: 9}} {
		if got, err := Append(nil, ev); err == nil || len(got) != 0 {
			t.Errorf("Append(%+v) is %q, want an error", ev, got)
		}
	}
}

// fill gives every field of a struct a random value, now and then 0.
func fill(v reflect.Value, rng *rand.Rand) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), rng)
		}
	case reflect.Bool:
		v.SetBool(rng.IntN(4) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rng.Uint64() >> rng.IntN(64)))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(rng.Uint64() >> rng.IntN(64))
	case reflect.Slice: // of bytes
		b := make([]byte, rng.IntN(5))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		v.SetBytes(b)
	default:
		panic("no way to fill a " + v.Type().String())
	}
}

// randomEvent returns an event with something in every field.
func randomEvent(k *kind, rng *rand.Rand) Event {
	ev := k.make()
	m, ok := ev.(*Marker)
	if !ok {
		fill(reflect.ValueOf(ev).Elem(), rng)
		return ev
	}
	effect := m.Effect
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Name != "Values" {
			fill(v.Field(i), rng)
		}
	}
	m.Effect, m.NumValues = effect, uint8(rng.IntN(probe.MaxCaptures+1))
	for i := range m.Values[:m.NumValues] {
		fill(reflect.ValueOf(&m.Values[i]).Elem(), rng)
		if rng.IntN(2) == 0 {
			m.Values[i].Str = nil
		} else {
			m.Values[i].Int = 0
		}
	}
	return ev
}

// Whatever an event holds, its text gives it back: no field is without a place
// in the table.
func TestTextLosesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range kinds {
		for range 2000 {
			want := randomEvent(&kinds[i], rng)
			text, err := Append(nil, want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(string(text))
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
				t.Fatalf("%s: error %v\n%s", text, err, diff)
			}
		}
	}
}

// FuzzText reads any line: what is an event has one text, which gives it back.
func FuzzText(f *testing.F) {
	for _, c := range texts {
		f.Add(c.text)
	}
	f.Add(`1 enter values="a"...?null,1?,-0,00,null`)
	f.Fuzz(func(t *testing.T, line string) {
		ev, err := Parse(line)
		if err != nil {
			return
		}
		text, err := Append(nil, ev)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(text), "\n\r") {
			t.Fatalf("%q is more than one line", text)
		}
		again, err := Parse(string(text))
		if diff := cmp.Diff(ev, again, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Fatalf("%q gives %q: error %v\n%s", line, text, err, diff)
		}
		if same, _ := Append(nil, again); string(same) != string(text) {
			t.Fatalf("%q, then %q", text, same)
		}
	})
}
