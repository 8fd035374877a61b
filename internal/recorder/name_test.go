// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"strings"
	"testing"
	"unicode"
)

// The seed trims names by Python's str.strip: what it takes away is known, and
// nothing else may go.
func TestNamesAreTrimmedAsByPython(t *testing.T) {
	r := New(Limits{})
	for c := rune(0); c <= unicode.MaxRune; c++ {
		name := string(c) + "a" + string(c) + "b" + string(c) // a surrogate is U+FFFD
		want := name
		if strings.ContainsRune(pythonSpace, c) {
			want = "a" + string(c) + "b"
		}
		if got, _ := cleanName([]byte(name), DefaultMaxName); string(got) != want {
			t.Errorf("%q is trimmed to %q, want %q", name, got, want)
		}
		if got, want := BlankName([]byte(string(c))), strings.ContainsRune(pythonSpace, c); got != want {
			t.Errorf("%q is blank: %v, want %v", c, got, want)
		}
	}
	if n := len([]rune(pythonSpace)); n != 29 {
		t.Errorf("%d characters of white space, Python has 29", n)
	}
	for in, want := range map[string]string{
		"\x1c\x1d\x1e\x1ftrain\x1f\x1c": "train",
		" \x1c \u2003 a\x1fb\v\f":       "a\x1fb",
		"\x1b[1m":                       "\x1b[1m",
		"\x85a\xa0":                     "\x85a\xa0", // bytes that are no UTF-8
		"\u200ba\ufeff":                 "\u200ba\ufeff",
	} {
		tok, b, err := r.Enter(main1, "", in, nil)
		if err != nil || tok.Name() != want || b.Path.Name() != want || b.Cut != 0 {
			t.Errorf("%q is called %q, %q, %v; want %q", in, tok.Name(), b.Path.Name(), err, want)
		}
		if h, err := New(Limits{}).Open(main1, "", in, nil); err != nil || h.Name() != want || h.PhasePath() != want {
			t.Errorf("the handle of %q: %v, want %q", in, err, want)
		}
	}
}

func TestBlankNames(t *testing.T) {
	for name, want := range map[string]bool{
		"": true, " ": true, "\t\n\v\f\r": true, "\x1c\x1d\x1e\x1f": true, "\u00a0\u2003\u0085": true,
		"a": false, " a": false, "\x1ca\x1c": false, "\x00": false, "\x1b": false, "\x7f": false, "\x85": false, "\u200b": false,
	} {
		if got := BlankName([]byte(name)); got != want {
			t.Errorf("%q is blank: %v, want %v", name, got, want)
		}
	}
}

// A thread without a name is called as the seed calls it, on the exit too, and
// that costs nothing once it has been.
func TestThreadWithoutName(t *testing.T) {
	r := New(Limits{})
	for _, c := range []struct {
		thread     int
		name, want string
	}{
		{4242, "", "thread-4242"},
		{0, "", "thread-0"},
		{-7, "", "thread--7"},
		{4242, " ", " "},
		{4242, "worker", "worker"},
		{4242, "", "thread-4242"},
	} {
		tok, enter, err := r.Enter(Key{SessionID: "s", ThreadID: c.thread}, c.name, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		exit := mustExit(t, r, tok)
		if enter.ThreadName != c.want || exit.ThreadName != c.want || enter.Metadata().PhaseScope.ThreadName != c.want {
			t.Errorf("thread %d called %q: %q at the enter, %q at the exit, want %q", c.thread, c.name, enter.ThreadName, exit.ThreadName, c.want)
		}
	}
	s := r.Stack(Key{SessionID: "s", ThreadID: 4242})
	r.Acquire()
	defer r.Release()
	name := []byte("a")
	if n := testing.AllocsPerRun(1000, func() {
		tok, _, _ := s.Enter("", name, nil)
		_, _ = s.Exit(tok)
	}); n != 0 {
		t.Errorf("%v allocations an enter and exit, want 0", n)
	}
}
