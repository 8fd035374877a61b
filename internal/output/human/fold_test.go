// SPDX-License-Identifier: Apache-2.0

package human_test

import (
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/output/human"
)

func TestFolded(t *testing.T) {
	red, reset := string(human.Red), "\x1b[0m"
	for _, test := range []struct {
		line          string
		width, indent int
		want          string
	}{
		{"  one two three four", 80, 4, "  one two three four"},
		{"  one two three four", 0, 4, "  one two three four"},
		{"  one two three four", 10, 4, "  one two\n    three\n    four"},
		{"one  two", 8, 2, "one  two"},
		{"one  two", 7, 2, "one\n  two"},
		{"see /a/long/path there", 10, 2, "see\n  /a/long/path\n  there"},
		{red + "!! one two" + reset + " three", 10, 3, red + "!! one two" + reset + "\n   three"},
		{"東京 東京 東京", 9, 1, "東京 東京\n 東京"},
		{"one two", 3, 40, "one\n two"},
	} {
		if got := string(human.AppendFolded(nil, []byte(test.line), test.width, test.indent)); got != test.want {
			t.Errorf("%q in %d columns is %q, want %q", test.line, test.width, got, test.want)
		}
	}
}

func TestCut(t *testing.T) {
	cyan, reset := string(human.Cyan), "\x1b[0m"
	for _, test := range []struct {
		line  string
		width int
		want  string
	}{
		{"one two", 7, "one two"},
		{"one two", 0, "one two"},
		{"one two", 5, "one …"},
		{cyan + "one two" + reset + " three", 5, cyan + "one …" + reset},
		{cyan + "<- x" + reset + "  1 ms", 10, cyan + "<- x" + reset + "  1 ms"},
		{"東京東京", 5, "東京…"},
		{"東京東京", 4, "東…"},
	} {
		got := string(human.AppendCut(nil, []byte(test.line), test.width))
		if got != test.want {
			t.Errorf("%q cut to %d columns is %q, want %q", test.line, test.width, got, test.want)
		}
		if n := human.Columns([]byte(got)); test.width > 0 && n > test.width {
			t.Errorf("%q has %d columns, want at most %d", got, n, test.width)
		}
	}
}

// FuzzFolded: folding loses no word, and no part without a long word is too wide.
func FuzzFolded(f *testing.F) {
	f.Add("  one two three", 7, 2)
	f.Add("\x1b[31m!! a b\x1b[0m 東京", 4, 9)
	f.Fuzz(func(t *testing.T, line string, width, indent int) {
		width, indent = min(max(width, 1), 200), min(max(indent, 0), 200)
		line = strings.ReplaceAll(human.Escape(line), "\u2028", "")
		got := string(human.AppendFolded(nil, []byte(line), width, indent))
		if a, b := strings.Fields(got), strings.Fields(line); strings.Join(a, " ") != strings.Join(b, " ") {
			t.Fatalf("%q in %d columns is %q", line, width, got)
		}
		for part := range strings.SplitSeq(got, "\n") {
			if human.Width(part) > width && len(strings.Fields(part)) > 1 {
				t.Fatalf("a part of %d columns, want at most %d: %q", human.Width(part), width, part)
			}
		}
	})
}
