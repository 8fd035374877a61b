// SPDX-License-Identifier: Apache-2.0

package human

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func cutSuffix(text, suffix string) (float64, bool) {
	text, ok := strings.CutSuffix(text, suffix)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil
}

func TestEscape(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"plain / text \"quoted\" \\", "plain / text \"quoted\" \\"},
		{"a\nb\r\tc", `a\nb\r\tc`},
		{"\x00\x1b[2J\x7f", `\x00\x1b[2J\x7f`},
		{"\u0080\u009b", `\u0080\u009b`},
		{"\u202e\u2066\u200f\u061c", `\u202e\u2066\u200f\u061c`},
		{"\u2028\u2029\u200b\ufeff\u00ad", `\u2028\u2029\u200b\ufeff\u00ad`},
		{"\u3164\uffa0\u2800\u115f\u034f", `\u3164\uffa0\u2800\u115f\u034f`},
		{"\ufe0f\U000e0100", "\ufe0f" + `\U000e0100`},
		{"\U000e0001\U0010ffff", `\U000e0001\U0010ffff`},
		{"\ue000", `\ue000`}, // private use
		{"\xff\xc3(", `\xff\xc3(`},
		{"\xed\xa0\x80", `\xed\xa0\x80`},
		{"\ufffd", "\ufffd"},
		{"über 東京 🚀", "über 東京 🚀"},
		{"e\u0301\u0301\u0301\u0301e\u0301", "e\u0301\u0301\u0301" + `\u0301` + "e\u0301"},
	} {
		if got := Escape(test.in); got != test.want {
			t.Errorf("Escape(%q) = %q, want %q", test.in, got, test.want)
		}
		if got := string(appendEscaped(nil, []byte(test.in))); got != test.want {
			t.Errorf("appendEscaped(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "abc": 3, "über": 4, "e\u0301": 1, "東京": 4, "🚀": 2, "한글": 4, "ｱ": 1, "Ａ": 2, "…": 1,
	} {
		if got := Width(s); got != want {
			t.Errorf("Width(%q) = %d, want %d", s, got, want)
		}
		if got := WidthOf([]byte(s)); got != want {
			t.Errorf("WidthOf(%q) = %d, want %d", s, got, want)
		}
	}
}

func TestFit(t *testing.T) {
	for _, test := range []struct {
		in    string
		width int
		want  string
	}{
		{"", 5, ""},
		{"abcde", 5, "abcde"},
		{"abcdef", 5, "abcd…"},
		{"abc", 1, "…"},
		{"abc", 0, "…"},
		{"東京都", 6, "東京都"},
		{"東京都庁", 6, "東京…"},
		{"東京", 1, "…"},
		{"a\x1b[2J", 6, `a\x1b…`},
		{"abcde\u0301", 5, "abcde\u0301"},
		{strings.Repeat("x", 1<<20), 4, "xxx…"},
	} {
		if got := Fit(test.in, test.width); got != test.want {
			t.Errorf("Fit(%.20q, %d) = %q, want %q", test.in, test.width, got, test.want)
		}
	}
}

func TestPad(t *testing.T) {
	if got := string(AppendPad([]byte("ab東"), 2, 4)); got != "ab東  " {
		t.Errorf("%q", got)
	}
	if got := string(AppendPad([]byte("abc"), 0, 2)); got != "abc" {
		t.Errorf("%q", got)
	}
}

func TestColour(t *testing.T) {
	if got := Palette(true).Paint(Red, "x"); got != "\x1b[1;31mx\x1b[0m" {
		t.Errorf("%q", got)
	}
	off := Palette(false)
	if got := off.Paint(Red, "x") + string(off.End(off.Begin(nil, Red))); got != "x" {
		t.Errorf("%q", got)
	}
	for _, test := range []struct {
		terminal       bool
		noColour, term string
		want           bool
	}{
		{true, "", "xterm", true}, {true, "", "", true}, {false, "", "xterm", false},
		{true, "1", "xterm", false}, {true, "0", "xterm", false}, {true, "", "dumb", false},
	} {
		env := map[string]string{"NO_COLOR": test.noColour, "TERM": test.term}
		if got := ColourWanted(test.terminal, func(k string) string { return env[k] }); got != test.want {
			t.Errorf("ColourWanted of %+v = %v", test, got)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a\x1b[2J", "\xff\u202e", "e\u0301\u0301\u0301\u0301", "東京\x00", "\u0301\u0301\u0301\u0301"} {
		f.Add(s, 7)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		out := Escape(s)
		if !utf8.ValidString(out) {
			t.Fatalf("%q escaped is invalid UTF-8: %q", s, out)
		}
		for _, r := range out {
			if !Visible(r) {
				t.Fatalf("%q escaped contains %U", s, r)
			}
		}
		if again := Escape(out); again != out {
			t.Fatalf("%q escaped twice is %q, once %q", s, again, out)
		}
		width = min(max(width, 1), 200)
		cut := Fit(s, width)
		switch {
		case Width(cut) > width:
			t.Fatalf("%q cut to %d columns has %d", s, width, Width(cut))
		case Width(out) <= width && cut != out:
			t.Fatalf("%q fits %d columns and is cut to %q", s, width, cut)
		case Width(out) > width && !strings.HasSuffix(cut, Ellipsis):
			t.Fatalf("%q cut to %d columns does not say so: %q", s, width, cut)
		}
	})
}

func TestNoAllocation(t *testing.T) {
	buf := make([]byte, 0, 4096)
	in := "a name\x1b with 東京 in it, longer than its column"
	if n := testing.AllocsPerRun(100, func() {
		b := AppendFit(buf, in, 20)
		b = AppendPad(b, 0, 30)
		b = AppendDuration(b, 123456)
		b = AppendBytes(b, 123456)
		b = AppendChange(b, -123456)
		b = AppendCount(b, 123456)
		AppendSeconds(b, 123456, 12)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
