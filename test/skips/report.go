// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is what test2json (go doc test2json) writes, one a line.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// test names a test; Test is empty for what a package writes itself.
type test struct{ pkg, name string }

// report shows the events of go test as go test does without -v: the line of
// each package, and all that failed tests wrote.
type report struct {
	out     io.Writer
	written map[string][]event // output so far, by package, until its result
	failed  map[test]bool
	skipped map[string][]test // by reason
}

func newReport(out io.Writer) *report {
	return &report{out: out, written: make(map[string][]event), failed: make(map[test]bool), skipped: make(map[string][]test)}
}

// read handles events until their end. Lines that are no event are shown as
// they are.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprintf(r.out, "%s", line)
			} else {
				r.event(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) event(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		r.written[e.Package] = append(r.written[e.Package], e)
	case "fail":
		r.failed[t] = true
	case "skip":
		if e.Test != "" {
			reason := r.reason(t)
			r.skipped[reason] = append(r.skipped[reason], t)
		}
	}
	if e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip") {
		r.show(e.Package)
	}
}

// frame is what go test writes about the progress of tests, with -v only.
var frame = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME) `)

// show writes the result of a package.
func (r *report) show(pkg string) {
	whole := r.failed[test{pkg, ""}]
	for _, e := range r.written[pkg] {
		verdict := e.Test == "" && (strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "?   "))
		if verdict || whole && (e.Test == "" || r.failed[test{pkg, e.Test}]) && !frame.MatchString(e.Output) {
			fmt.Fprint(r.out, e.Output)
		}
	}
	delete(r.written, pkg)
}

// place is where go test says a log line comes from.
var place = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// reason returns the last thing that a skipped test said.
func (r *report) reason(t test) string {
	reason := ""
	for _, e := range r.written[t.pkg] {
		if e.Test == t.name && place.MatchString(e.Output) {
			reason = strings.TrimSpace(place.ReplaceAllString(e.Output, ""))
		}
	}
	if reason == "" {
		return "no reason given"
	}
	return reason
}

// shown is how many tests the list names for a reason.
const shown = 3

// list writes the skipped tests.
func (r *report) list() {
	for i, reason := range slices.Sorted(maps.Keys(r.skipped)) {
		if i == 0 {
			fmt.Fprintln(r.out, "\nskipped:")
		}
		tests := r.skipped[reason]
		fmt.Fprintf(r.out, "  %s\n", reason)
		for _, t := range tests[:min(len(tests), shown)] {
			fmt.Fprintf(r.out, "      %s %s\n", t.pkg, t.name)
		}
		if n := len(tests) - shown; n > 0 {
			fmt.Fprintf(r.out, "      and %d more\n", n)
		}
	}
}
