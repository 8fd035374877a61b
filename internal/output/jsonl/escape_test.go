// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/phasetrace/phasetrace/internal/output/human"
)

func TestAppendString(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", `""`},
		{"plain text, / too", `"plain text, / too"`},
		{`say "hi" \ bye`, `"say \"hi\" \\ bye"`},
		{"a\nb\rc\td", `"a\nb\rc\td"`},
		{"\x00\x1b[31m\x7f", `"\u0000\u001b[31m\u007f"`},
		{"\u0085\u009b", `"\u0085\u009b"`},
		{"\u2028\u2029", `"\u2028\u2029"`},
		{"\u202egnp.exe", `"\u202egnp.exe"`},
		{"\ufeffx", `"\ufeffx"`},
		{"über 東京 🚀", `"über 東京 🚀"`},
		{"\xff\xc3", `"\ufffd\ufffd"`},
		{"\ufffd", `"\ufffd"`}, // as a byte that was none: read and written again, a line is the same
		{"\U000e0001", `"\udb40\udc01"`},
		{"\xed\xa0\x80", `"\ufffd\ufffd\ufffd"`}, // a surrogate half in UTF-8
	} {
		if got := string(AppendString(nil, test.in)); got != test.want {
			t.Errorf("AppendString(%q) = %s, want %s", test.in, got, test.want)
		}
	}
}

func TestAppendObject(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{`{"a":1}`, `{"a":1}`},
		{"{\n\t\"a\": 1\r}", `{  "a": 1 }`},
		{"{\"a\":\"\u2028\u202e\x7f\"}", `{"a":"\u2028\u202e\u007f"}`},
		{"{\"a\":\"\xff\"}", `{"a":"\ufffd"}`},
		{`{"a":"東京"}`, `{"a":"東京"}`},
	} {
		if got := string(appendObject(nil, []byte(test.in))); got != test.want {
			t.Errorf("appendObject(%q) = %s, want %s", test.in, got, test.want)
		}
	}
}

// safe fails unless line is one line of text that no terminal obeys.
func safe(t *testing.T, line []byte) {
	t.Helper()
	if !utf8.Valid(line) {
		t.Fatalf("invalid UTF-8: %q", line)
	}
	for _, r := range string(line) {
		if !human.Visible(r) {
			t.Fatalf("character %U in %q", r, line)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a\"\\\x00", "\xff\u2028\u202e", "\U000e0001🚀", strings.Repeat("\x80", 20)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := AppendString(nil, s)
		safe(t, out)
		var back string
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q gives invalid JSON %s: %v", s, out, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && back != want {
			t.Fatalf("%q came back as %q", s, back)
		}
		// encoding/json replaces byte by byte, as we do.
		std, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var standard string
		if err := json.Unmarshal(std, &standard); err != nil || standard != back {
			t.Fatalf("%q: ours decodes to %q, encoding/json's to %q (%v)", s, back, standard, err)
		}
	})
}

func FuzzAppendObject(f *testing.F) {
	for _, s := range []string{"{}", "{\"a\":\n[1,\"\u2028\"]}", "{\"\x7f\":null}", "{\"a\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		out := appendObject(nil, object)
		safe(t, out)
		if !json.Valid(object) {
			return
		}
		var before, after any
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%q gives invalid JSON %q: %v", object, out, err)
		}
		if err := json.Unmarshal(object, &before); err != nil {
			return // a number out of range
		}
		a, _ := json.Marshal(before)
		b, _ := json.Marshal(after)
		if string(a) != string(b) {
			t.Fatalf("%q changed its meaning: %s, now %s", object, a, b)
		}
	})
}
