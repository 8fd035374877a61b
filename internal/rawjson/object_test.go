// SPDX-License-Identifier: Apache-2.0

package rawjson

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
)

// members walks through text. It reports how the walk ended.
func members(text string) (found []string, ok, broken bool) {
	o, ok := Open([]byte(text))
	for o.Next() {
		found = append(found, string(o.Key)+"="+string(o.Value))
	}
	return found, ok, o.Broken()
}

func TestObject(t *testing.T) {
	for _, test := range []struct {
		text   string
		want   []string
		broken bool
	}{
		{`{}`, nil, false},
		{" \t\r\n{ } ", nil, false},
		{`{"a":1}`, []string{`"a"=1`}, false},
		{`{"a":1,"b":"two","c":null,"d":-1.5e3}`, []string{`"a"=1`, `"b"="two"`, `"c"=null`, `"d"=-1.5e3`}, false},
		{"{ \"a\" :\n1 , \"b\"\t: [ 1, 2 ] }", []string{`"a"=1`, `"b"=[ 1, 2 ]`}, false},
		{`{"a":{"b":[{"c":"}"}]},"d":[[],{}]}`, []string{`"a"={"b":[{"c":"}"}]}`, `"d"=[[],{}]`}, false},
		{`{"a,:{":"},\"{[","b":"\\"}`, []string{`"a,:{"="},\"{["`, `"b"="\\"`}, false},
		{`{"":"","":1}`, []string{`""=""`, `""=1`}, false},
		{`{"a":"\u007d é"}`, []string{`"a"="\u007d é"`}, false},
		// Cut off.
		{`{`, nil, false},
		{`{"a":1,`, []string{`"a"=1`}, false},
		{`{"a":1,"b":tr`, []string{`"a"=1`, `"b"=tr`}, false},
		{`{"a":"so\`, []string{`"a"="so\`}, false},
		{`{"a":[1,{`, []string{`"a"=[1,{`}, false},
		{`{"a":`, []string{`"a"=`}, false},
		{`{"a":1,"b`, []string{`"a"=1`}, true},
		{`{"a"`, nil, true},
		// No JSON.
		{`{1:2}`, nil, true},
		{`{"a"}`, nil, true},
		{`{"a" 1}`, nil, true},
		{`{"a":1 "b":2}`, []string{`"a"=1`}, true},
		{`{"a":1]`, []string{`"a"=1`}, true},
	} {
		got, ok, broken := members(test.text)
		if !ok || broken != test.broken || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, %v, broken %v; want %q, broken %v", test.text, got, ok, broken, test.want, test.broken)
		}
	}
	for _, text := range []string{"", " ", "1", "[]", `"{}"`, "null"} {
		if got, ok, _ := members(text); ok || got != nil {
			t.Errorf("%q is taken for an object with %q", text, got)
		}
	}
}

func TestObjectDoesNotAllocate(t *testing.T) {
	text := []byte(`{"epoch":1,"file":"batch 7.bin","shape":[3,224,224]}`)
	if n := testing.AllocsPerRun(100, func() {
		o, _ := Open(text)
		for o.Next() {
		}
	}); n != 0 {
		t.Errorf("%v allocations for a walk, want none", n)
	}
}

// Any object is taken apart as encoding/json does it, wherever it is cut off the
// members before are the same, and nothing else makes a walk fail.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[1,"}"]},"d\n":"\\\""}`), 9)
	f.Add([]byte("{ \"a\" : null ,\n\"a\":\t[ ] }"), 12)
	f.Add([]byte(`{"a":"\`), 3)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		whole := walk(t, text)
		if cut < 0 || cut > len(text) {
			return
		}
		part := walk(t, text[:cut])
		dec := json.NewDecoder(bytes.NewReader(text))
		if first, err := dec.Token(); err != nil || first != json.Delim('{') || !json.Valid(text) {
			return
		}
		for i, m := range whole {
			var name string
			if err := json.Unmarshal(m[0], &name); err != nil {
				t.Fatalf("%q: key %q: %v", text, m[0], err)
			}
			var value json.RawMessage
			key, err := dec.Token()
			if err == nil {
				err = dec.Decode(&value)
			}
			if err != nil || key != name || !bytes.Equal(value, m[1]) {
				t.Fatalf("%q: member %d is %q, want %q: %s, %v", text, i, m, key, value, err)
			}
		}
		if dec.More() {
			t.Fatalf("%q: only %d members were found", text, len(whole))
		}
		for i := range max(len(part)-1, 0) { // the last may be cut
			if !bytes.Equal(part[i][0], whole[i][0]) || !bytes.Equal(part[i][1], whole[i][1]) {
				t.Fatalf("%q, cut to %d: member %d is %q, want %q", text, cut, i, part[i], whole[i])
			}
		}
	})
}

// walk returns all members; each must lie behind the one before.
func walk(t *testing.T, text []byte) (found [][2][]byte) {
	t.Helper()
	o, _ := Open(text)
	for left := len(text); o.Next(); left = len(o.rest) {
		if len(o.rest) >= left {
			t.Fatalf("%q: member %q is no step", text, o.Key)
		}
		found = append(found, [2][]byte{o.Key, o.Value})
	}
	return found
}
