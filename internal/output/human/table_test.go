// SPDX-License-Identifier: Apache-2.0

package human_test

import (
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/output/human"
)

var cells = [][]string{
	{"a", "12", "x"},
	{"東京", "1,234", "a longer last column"},
	{"o\u0301", "7", ""},
	{"a name that is too long", "0", "y"},
}

func table(t *human.Table) string {
	t.Head = []string{"name", "n", "what"}
	t.Cell = func(r, c int) string { return cells[r][c] }
	t.Measure(len(cells))
	b := t.AppendHead(nil)
	for r := range cells {
		b = t.AppendRow(b, r)
	}
	return string(b)
}

func TestTable(t *testing.T) {
	for _, test := range []struct {
		name  string
		table human.Table
		want  string
	}{
		{"left", human.Table{Indent: 2, Limit: 8}, `
  name      n      what
  a         12     x
  東京      1,234  a longer last column
  ó         7      
  a name …  0      y
`},
		{"right", human.Table{Right: true}, `
name                         n                  what
a                           12                     x
東京                     1,234  a longer last column
ó                            7                      
a name that is too long      0                     y
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := strings.ReplaceAll(test.want[1:], "ó", "o\u0301")
			if got := table(&test.table); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// Colours change no column, and what comes below a row can be put under its last
// one.
func TestTableColours(t *testing.T) {
	plain := table(&human.Table{Indent: 2, Limit: 8})
	coloured := human.Table{Indent: 2, Limit: 8, Paint: true, HeadTint: human.Bold, Tint: func(r, c int) human.Colour {
		if c == 1 {
			return human.Red
		}
		return ""
	}}
	text := table(&coloured)
	if !strings.Contains(text, string(human.Red)+"1,234\x1b[0m") || !strings.Contains(text, string(human.Bold)+"name") {
		t.Errorf("colours are missing: %q", text)
	}
	for _, code := range []human.Colour{human.Red, human.Bold, "\x1b[0m"} {
		text = strings.ReplaceAll(text, string(code), "")
	}
	if text != plain {
		t.Errorf("without its colours it is\n%swant\n%s", text, plain)
	}
	if line, _, _ := strings.Cut(plain, "\n"); coloured.Before() != strings.Index(line, "what") {
		t.Errorf("the last column begins at %d: %q", coloured.Before(), line)
	}
}
