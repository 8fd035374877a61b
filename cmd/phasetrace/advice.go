// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/doctor"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/inspect"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/session"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// advise adds to an error of a session what the user can do about it.
func advise(err error) error {
	var none *session.NoMarkersError
	var library *session.LibraryError
	var name *session.UnknownNameError
	switch {
	case errors.As(err, &name):
		return fmt.Errorf("--also, --only: %w (%s; one of a library that is loaded later: --library FILE)", err, namesAdvice)
	case errors.As(err, &library):
		return fmt.Errorf("--library: %w", err)
	case errors.As(err, &none) && none.Children > 0:
		return fmt.Errorf("%w: %s: add -f", err, childrenHave(none.Children))
	case errors.As(err, &none) && none.Refused > 0:
		return fmt.Errorf("%w (\"phasetrace doctor -p PID\" explains; --unsafe-nops attaches all the same)", err)
	case errors.As(err, &none) && len(none.LeftOff) > 0:
		return fmt.Errorf("%w: %s", err, offByDefault(none.LeftOff))
	case errors.As(err, &none):
		return fmt.Errorf("%w (\"phasetrace list -p PID\" shows every probe there is)", err)
	case errors.Is(err, session.ErrCountKeyed):
		return fmt.Errorf("--aggregate: %w: they may change threads, and each thread counts for itself; leave out key= or trace without --aggregate", err)
	}
	return err
}

// namesAdvice says which names pairs have: not those that programs give their phases.
const namesAdvice = "\"phasetrace list\" shows the names; phases that the program itself names are chosen by --where phase=NAME"

func childrenHave(n int) string {
	if n == 1 {
		return "1 child has markers"
	}
	return fmt.Sprintf("%d children have markers", n)
}

// listAdvice is what a listing says about this command line.
var listAdvice = inspect.Advice{
	Ask:      func(pair string) string { return "--pair '" + pair + "'" },
	AskNamed: func(name string) string { return "--also " + quoted(name) },
	Join:     "--pair PROVIDER:ENTER/EXIT",
	Rest:     "--json has them",
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.,:/", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// doctorAdvice says how to follow doctor's advice.
func doctorAdvice(a doctor.Advice) string {
	switch a {
	case doctor.AdviseListing:
		return "\"phasetrace list -p PID\" shows every file, and what is wrong with it"
	case doctor.AdviseLibrary:
		return "a library that comes later: --library FILE"
	case doctor.AdvisePair:
		return "--pair; \"phasetrace list -p PID\" shows what there is"
	case doctor.AdviseNVMLLibrary:
		return "the flag is --nvml-library FILE"
	}
	return ""
}

// gpuAdvice is what is to be done here about the status of a GPU, to be put behind
// what is said about it.
func gpuAdvice(s gpu.Status) string {
	if s == gpu.StatusNoLibrary || s == gpu.StatusMismatch {
		return " (--nvml-library FILE)"
	}
	return ""
}

// topicAdvice says what the user can do about what a session tells of.
func topicAdvice(t session.Topic) string {
	switch t {
	case session.TopicLibrary:
		return "name such libraries with --library FILE"
	case session.TopicChildren:
		return "-f traces them"
	}
	return ""
}

// quietAdvice tells a person who will see nothing until the end when that is, and how
// to see more before.
func (o *traceOptions) quietAdvice(out *outputs, s *streams) string {
	if out.lines || len(o.command) > 0 || !isTerminal(s.err) {
		return ""
	}
	pid, until := os.Getpid(), "until Ctrl-C"
	if s.worker != nil {
		pid = os.Getppid() // the front: the process that the user has started
	}
	if o.duration > 0 {
		until = fmt.Sprintf("for %v, or until Ctrl-C", o.duration)
	}
	return fmt.Sprintf("tracing %s; kill -USR1 %d shows the figures so far", until, pid)
}

// maxListed bounds the files that a command to copy names.
const maxListed = 3

// offAdvice says how many pairs are off beside those that are traced, and which
// command shows them. A command that was started may be over by then: its files are
// not.
func (o *traceOptions) offAdvice(off session.Off) string {
	if off.Pairs == 0 {
		return ""
	}
	which := fmt.Sprintf("-p %d", off.PID)
	plain := func(path string) bool { return !strings.ContainsAny(path, " \t\n'\"\\$`*?[(&;|<>~#!{") }
	if len(o.command) > 0 && len(off.Files) <= maxListed && !slices.ContainsFunc(off.Files, func(p string) bool { return !plain(p) }) {
		which = strings.Join(off.Files, " ")
	}
	noun := "pair is"
	if off.Pairs > 1 {
		noun = "pairs are"
	}
	return fmt.Sprintf("%s more %s off: phasetrace list %s", human.Count(uint64(off.Pairs)), noun, which)
}

// maxAdvised bounds the pairs that a message names.
const maxAdvised = 8

// offByDefault says how to trace pairs that are left off.
func offByDefault(pairs []usdt.PairSpec) string {
	var b strings.Builder
	verb := "is"
	if len(pairs) != 1 {
		verb = "are"
	}
	fmt.Fprintf(&b, "%s %s off by default:", human.Plural(uint64(len(pairs)), "pair"), verb)
	for _, p := range pairs[:min(len(pairs), maxAdvised)] {
		if p.ByName() {
			b.WriteString(" --also " + quoted(p.Name))
		} else {
			fmt.Fprintf(&b, " --pair '%v'", p)
		}
	}
	if n := len(pairs) - maxAdvised; n > 0 {
		fmt.Fprintf(&b, " and %d more, which \"phasetrace list\" shows", n)
	}
	return b.String()
}
