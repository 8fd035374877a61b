// SPDX-License-Identifier: Apache-2.0

package instructions

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const table = `# a remark
kernel 6.12.1
emulator qemu 7.2

  1000.0  floor
  1500.0  record
  1100.0  part: clock
`

func parse(t *testing.T, text string) *Measurement {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFormatAndParse(t *testing.T) {
	m := parse(t, table)
	want := &Measurement{Kernel: "6.12.1", Emulator: "qemu 7.2", Rows: []Row{{"floor", 1000}, {"record", 1500}, {"part: clock", 1100}}}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, parse(t, string(m.Format()))); d != "" {
		t.Error(d)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                          "expected a line with the kernel",
		"kernel 6.12\n1000 floor\n":                 "rows to compare",
		"1000 floor\n1500 record\n":                 "expected a line with the kernel",
		"kernel 6.12\n1000 floor\nmany record\n":    "line 3",
		"kernel 6.12\n1000 floor\n1500\n":           "line 3",
		"kernel 6.12\n1000 a\n1500 b\n1600.5 b\n":   `line 4: "b" is there twice`,
		"panic: no probes\n\ngoroutine 1 [running]": "line 1",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// The table's rows have 500 and 100 instructions over the floor.
func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		now, problem, elsewhere string
		shrunk                  []string
	}{
		"the same": {
			now: table,
		},
		"grown by 3 %": {
			now: "kernel 6.12.1\nemulator qemu 7.2\n1000 floor\n1515 record\n1103 part: clock\n",
		},
		"grown by more": {
			now:     "kernel 6.12.1\nemulator qemu 7.2\n1000 floor\n1515.5 record\n1100 part: clock\n",
			problem: `grown by more than 3 %: "record" (+3.1 %)`,
		},
		"two grown": {
			now:     "kernel 6.12.1\nemulator qemu 7.2\n1000 floor\n1550 record\n1112 part: clock\n",
			problem: `grown by more than 3 %: "record" (+10.0 %), "part: clock" (+12.0 %)`,
		},
		"shrunk": {
			now:    "kernel 6.12.1\nemulator qemu 7.2\n1000 floor\n1400 record\n1098 part: clock\n",
			shrunk: []string{`"record"`},
		},
		"a row is missing": {
			now:     "kernel 6.12.1\nemulator qemu 7.2\n1000 floor\n1500 record\n",
			problem: `in the table, but not measured: "part: clock"`,
		},
		"a row is new": {
			now:     "kernel 6.12.1\nemulator qemu 7.2\n1000 floor\n1500 record\n1100 part: clock\n1200 other\n",
			problem: `not in the table: "other"`,
		},
		"a row has another name": {
			now:     "kernel 6.12.1\nemulator qemu 7.2\n1000 floor\n1500 full record\n1100 part: clock\n",
			problem: `not in the table: "full record"; in the table, but not measured: "record"`,
		},
		// Its own way to the program and back is longer: every row is, and none over the floor.
		"another kernel": {
			now:       "kernel 6.12.9\nemulator qemu 7.2\n1200 floor\n1702 record\n1300 part: clock\n",
			elsewhere: "Linux 6.12.1",
		},
		"another kernel, whose floor hides no growth": {
			now:       "kernel 6.12.9\nemulator qemu 8\n900 floor\n1500 record\n1000 part: clock\n",
			problem:   `grown by more than 3 %: "record" (+20.0 %)`,
			elsewhere: "Linux 6.12.1 and qemu 7.2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Compare(parse(t, c.now), parse(t, table))
			if d := cmp.Diff(c.problem, got.Problem()); d != "" {
				t.Errorf("problem: %s", d)
			}
			if d := cmp.Diff(c.elsewhere, got.Elsewhere()); d != "" {
				t.Errorf("elsewhere: %s", d)
			}
			if d := cmp.Diff(c.shrunk, got.Shrunk()); d != "" {
				t.Errorf("shrunk: %s", d)
			}
		})
	}
}

func TestTable(t *testing.T) {
	now := parse(t, "kernel 6.12.9\nemulator qemu 7.2\n1200 floor\n1720 record\n1300 part: clock\n1200.5 other\n")
	want := `instructions a boundary, Linux 6.12.9, qemu 7.2
  instructions  over floor  committed  difference
        1200.0        +0.0          -           -  floor
        1720.0      +520.0      500.0      +4.0 %  record
        1300.0      +100.0      100.0      +0.0 %  part: clock
        1200.5        +0.5          -           -  other
`
	var lines []string
	for line := range strings.Lines(string(Compare(now, parse(t, table)).Table())) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	if d := cmp.Diff(want, strings.Join(lines, "\n")+"\n"); d != "" {
		t.Error(d)
	}
}

func TestSpread(t *testing.T) {
	got := Spread([]*Measurement{
		parse(t, table),
		parse(t, strings.Replace(table, "1500", "1530", 1)),
		parse(t, strings.Replace(table, "1100", "1099", 1)),
	})
	for i, want := range []float64{0, 0.02, 1.0 / 1099} {
		if math.Abs(got[i]-want) > 1e-9 {
			t.Errorf("row %d: %g, want %g", i, got[i], want)
		}
	}
}

// The committed table can be read, and measuring it again would be no problem.
func TestCommitted(t *testing.T) {
	text, err := os.ReadFile("../instructions.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := parse(t, string(text))
	if m.Emulator == "" || m.over(m.Rows[1]) <= 0 {
		t.Errorf("%+v", m)
	}
	if problem := Compare(m, m).Problem(); problem != "" {
		t.Error(problem)
	}
}
