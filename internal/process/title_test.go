// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestTitleOf(t *testing.T) {
	const pg = "/usr/lib/postgresql/15/bin/postgres"
	for cmdline, want := range map[string]string{
		pg + "\x00-D\x00/data\x00":                                    "", // as it was given
		"postgres: checkpointer \x00\x00\x00\x00\x00":                 "postgres: checkpointer",
		"postgres: app db [local] SELECT\x00":                         "postgres: app db [local] SELECT",
		"postgres: app db 10.0.0.1(5432) idle in transaction\x00\x00": "postgres: app db 10.0.0.1(5432) idle in transaction",
		"nginx: worker process" + strings.Repeat("\x00", 40):          "nginx: worker process",
		"ray::IDLE" + strings.Repeat("\x00", 40):                      "ray::IDLE",
		"title" + strings.Repeat("\x00", 40):                          "title", // nothing else clears what is behind
		"title" + strings.Repeat(" ", 40):                             "",      // one argument with spaces behind it
		"./postgres\x00":                                              "",      // without arguments
		"postgres\x00":                                                "",
		"-bash\x00":                                                   "",
		"sh\x00-c\x00a b: c\x00":                                      "",
		"":                                                            "",
		"\x00\x00":                                                    "",
		strings.Repeat("x", 250) + " " + strings.Repeat("é", 10) + "\x00": strings.Repeat("x", 250) + " éé",
	} {
		if got := titleOf([]byte(cmdline), "postgres", pg); got != want {
			t.Errorf("%q: %q, want %q", cmdline, got, want)
		}
	}
}

// A title in the memory of the arguments, of which there may be more than was read.
func TestTitleIn(t *testing.T) {
	const pg = "/usr/lib/postgresql/15/bin/postgres"
	for _, test := range []struct {
		memory    string
		arguments int
		want      string
	}{
		{pg + "\x00-D\x00/data\x00PATH=/bin\x00", len(pg) + 10, ""},
		{"postgres: checkpointer \x00\x00\x00PATH=/bin", 26, "postgres: checkpointer"},
		{"postgres: checkpointer \x00\x00\x00", 300, "postgres: checkpointer"}, // the rest was not read
		{"postgres: app db [local] SELECT\x00\x00LANG=C\x00", 20, "postgres: app db [local] SELECT"},
		{"postgres: " + strings.Repeat("x", 118), 300, ""}, // it goes on: known by half
		{"postgres: " + strings.Repeat("x", 118), 20, ""},
		{"postgres: app db", 0, ""},
		{"", 20, ""},
		{"\x00\x00", 2, ""},
	} {
		if got := TitleIn([]byte(test.memory), test.arguments, "postgres", pg); got != test.want {
			t.Errorf("%q with %d bytes of arguments: %q, want %q", test.memory, test.arguments, got, test.want)
		}
	}
}

func TestTitleOfProcess(t *testing.T) {
	program := start(t, exec.Command(fixture(t, "title"), "an", "argument"))
	for _, step := range []struct{ says, title string }{{"one", ""}, {"two", "job: second half"}} {
		program.expect(step.says)
		p := attach(t, program.pid)
		direct, err := TitleOf(p.PID, p.Comm, p.Exe)
		if err != nil || p.Title() != step.title || direct != step.title {
			t.Errorf("titles %q and %q, %v; want %q", p.Title(), direct, err, step.title)
		}
		program.say("")
	}
	if err := program.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func BenchmarkTitleOf(b *testing.B) {
	for b.Loop() {
		if _, err := TitleOf(os.Getpid(), "", ""); err != nil {
			b.Fatal(err)
		}
	}
}
