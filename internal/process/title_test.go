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

// Perl writes $0 over its command line, as servers do.
func TestTitleOfProcess(t *testing.T) {
	const program = `$| = 1; print "one\n"; <STDIN>; $0 = "job: second half"; print "two\n"; <STDIN>`
	cmd := exec.Command("perl", "-e", program, "an", "argument")
	if cmd.Err != nil {
		t.Skip("no perl here")
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer in.Close()
	for _, want := range []string{"", "job: second half"} {
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		p, err := Open(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		direct, err := TitleOf(p.PID, p.Comm, p.Exe)
		if err != nil || p.Title() != want || direct != want {
			t.Errorf("titles %q and %q, %v; want %q", p.Title(), direct, err, want)
		}
		if _, err := in.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkTitleOf(b *testing.B) {
	for b.Loop() {
		if _, err := TitleOf(os.Getpid(), "", ""); err != nil {
			b.Fatal(err)
		}
	}
}
