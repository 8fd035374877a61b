// SPDX-License-Identifier: Apache-2.0

// Postgres asks the five questions of docs/postgresql.md of a real server, each with
// the command that the page gives, while something happens that the server itself can
// tell: pg_stat_statements, its log, its statistics. It does so with simple, extended
// and prepared statements, prints what was answered beside what the server says, and
// fails where the two differ.
//
// The command line, as root:
//
//	go run ./test/postgres [-root FOLDER] [-protocols simple,…] [-questions 1,…] [-keep]
//
// The server is one of its own: it begins with an empty data folder and ends with the
// run. It knows phasetrace only as the command that users run, and its output.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		os.Exit(1)
	}
}

// options are the command line's choices.
type options struct {
	root, phasetrace, page string
	protocols, questions   string
	keep                   bool
}

func run(args []string, stdout, stderr io.Writer) error {
	var o options
	f := flag.NewFlagSet("postgres", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.root, "root", "", "`FOLDER` to change the root to, where another release is unpacked")
	f.StringVar(&o.phasetrace, "phasetrace", "phasetrace", "the `PROGRAM` to ask")
	f.StringVar(&o.page, "page", "docs/postgresql.md", "the `FILE` that has the commands")
	f.StringVar(&o.protocols, "protocols", "simple,extended,prepared", "`NAMES` of pgbench's protocols")
	f.StringVar(&o.questions, "questions", "1,2,3,4,5", "`NUMBERS` of the questions, by their order on the page")
	f.BoolVar(&o.keep, "keep", false, "keep what phasetrace and the server have written, and say where")
	if err := f.Parse(args); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("run it as root: tracing needs privileges")
	}
	b, err := newBench(&o, stdout)
	if err != nil {
		return err
	}
	err = b.ask(strings.Split(o.protocols, ","), strings.Split(o.questions, ","))
	return errors.Join(err, b.close())
}

// question is one of the page's.
type question struct {
	heading string // of its section
	ask     func(b *bench, protocol string, commands []string) (*answer, error)
}

var questions = []question{
	{"Which statements take the time?", askStatements},
	{"Why is commit's p99 bad?", askCommits},
	{"Does a checkpoint or autovacuum disturb?", askDisturbance},
	{"Who waits for which lock?", askLocks},
	{"What changed between two runs?", askChange},
}

// answer is what a question has brought.
type answer struct {
	text   string   // what phasetrace says, and the server
	wrong  []string // where the two differ
	beside []string // figures to show beside it
	again  bool     // what differs may be for the machine being busy
}

// differs notes a difference.
func (a *answer) differs(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

// bench is a server and what is asked of it.
type bench struct {
	*server
	page       string // its text
	phasetrace string
	work       string // a folder for what phasetrace writes
	asked      string // the question and the protocol, for the names of files
	keep       bool
	out        io.Writer
}

func newBench(o *options, out io.Writer) (*bench, error) {
	page, err := os.ReadFile(o.page)
	if err != nil {
		return nil, err
	}
	program, err := filepath.Abs(o.phasetrace)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w: build it with \"make build\"", err)
	}
	work, err := os.MkdirTemp("", "postgres-questions-")
	if err != nil {
		return nil, err
	}
	s, err := startServer(o.root)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(work))
	}
	return &bench{server: s, page: string(page), phasetrace: program, work: work, keep: o.keep, out: out}, nil
}

// ask asks the questions and prints the table.
func (b *bench) ask(protocols, numbers []string) error {
	if err := b.fill(); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%-42s %-8s %-9s %-4s %s\n", "question", "release", "protocol", "", "phasetrace, and in brackets what the server says")
	failed := 0
	for i, q := range questions {
		if !slices.Contains(numbers, strconv.Itoa(i+1)) {
			continue
		}
		commands, err := commandsOf(b.page, q.heading)
		if err != nil {
			return err
		}
		for _, protocol := range protocols {
			b.asked = fmt.Sprintf("%d-%s", i+1, protocol)
			a, err := q.ask(b, protocol, commands)
			if err != nil {
				return fmt.Errorf("%q with %s statements: %w", q.heading, protocol, err)
			}
			mark := "ok"
			if len(a.wrong) > 0 {
				failed++
				mark = "FAIL"
			}
			fmt.Fprintf(b.out, "%-42s %-8s %-9s %-4s %s\n", q.heading, b.release, protocol, mark, a.text)
			for _, line := range a.wrong {
				fmt.Fprintf(b.out, "    differs: %s\n", line)
			}
			for _, line := range a.beside {
				fmt.Fprintf(b.out, "    %s\n", line)
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d answers differ from what the server says", failed)
	}
	return nil
}

// close ends the server and removes what was written.
func (b *bench) close() error {
	err := b.server.stop()
	if b.keep {
		fmt.Fprintf(b.out, "kept: %s, and the server's log %s\n", b.work, b.logFile())
		return err
	}
	return errors.Join(err, b.remove(), os.RemoveAll(b.work))
}
