// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// status is how one test ended.
type status string

const (
	passed     status = "pass"
	failed     status = "fail"
	skipped    status = "skip"
	unfinished status = "unfinished" // it began and never ended
)

// test is one test function or subtest in one step.
type test struct {
	Name   string
	Status status
	Reason string // why it was skipped, or the last it said when it failed
}

// stepResult is what one test binary did in one mode.
type stepResult struct {
	step
	Tests []test // in the order in which they began; only those without subtests
	Exit  int
	Wall  time.Duration // by the guest's clock
}

// count returns how many tests ended with this status.
func (s stepResult) count(want status) int {
	n := 0
	for _, t := range s.Tests {
		if t.Status == want {
			n++
		}
	}
	return n
}

// outcome is everything that came of one kernel.
type outcome struct {
	Kernel    kernel
	Package   string        // Debian package and version
	Selection string        // of tests, as options; "": all
	Release   string        // as the booted kernel names itself
	Boot      time.Duration // from power-on to the first process, by the guest's clock
	Checks    []check       // what phasetrace doctor found there
	Steps     []stepResult
	Problems  []string // why this kernel did not pass; empty: it did
	Log       string   // path of the console's log
	Wall      time.Duration
}

// verdict is one line for people.
func (o *outcome) verdict() string {
	var pass, skip, fail int
	for _, s := range o.Steps {
		pass += s.count(passed)
		skip += s.count(skipped)
		fail += s.count(failed) + s.count(unfinished)
	}
	v := fmt.Sprintf("%d passed, %d skipped, %d failed in %v", pass, skip, fail, o.Wall.Round(time.Second))
	if len(o.Problems) > 0 {
		v += fmt.Sprintf("; FAILED, see %s:\n  %s", o.Log, strings.Join(o.Problems, "\n  "))
	}
	return v
}

// rawStep is a step's part of the console.
type rawStep struct {
	output []byte
	exit   int
	end    time.Duration
	ended  bool
}

// transcript is a console, taken apart.
type transcript struct {
	release   string
	boot      time.Duration
	steps     map[string]*rawStep
	kernelLog []string
	done      bool
}

var panicLine = regexp.MustCompile(`Kernel panic|Oops:|BUG: `)

// parseConsole takes a console apart. It accepts any bytes: a machine that died
// early leaves a transcript without steps.
func parseConsole(console []byte) *transcript {
	t := &transcript{steps: map[string]*rawStep{}}
	var current *rawStep
	inLog := false
	for raw := range bytes.Lines(console) {
		line := strings.TrimRight(string(raw), "\r\n")
		word, rest, _ := strings.Cut(line, " ")
		fields := strings.Fields(rest)
		switch {
		case word == "@@boot" && len(fields) == 2:
			t.release, t.boot = fields[0], seconds(fields[1])
		case word == "@@begin" && len(fields) == 1:
			current = &rawStep{}
			t.steps[fields[0]] = current
		case word == "@@end" && len(fields) == 3:
			if s := t.steps[fields[0]]; s != nil {
				code, err := strconv.Atoi(fields[1])
				s.exit, s.ended, s.end = code, err == nil, seconds(fields[2])
			}
			current = nil
		case line == "@@log-begin":
			inLog = true
		case line == "@@log-end":
			inLog = false
		case line == "@@done":
			t.done = true
		case current != nil:
			current.output = append(current.output, line...)
			current.output = append(current.output, '\n')
		case inLog:
			t.kernelLog = append(t.kernelLog, line)
		}
		if !inLog && !t.done && panicLine.MatchString(line) {
			t.kernelLog = append(t.kernelLog, line)
		}
	}
	return t
}

// seconds reads a number of seconds; anything else is 0.
func seconds(s string) time.Duration {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return time.Duration(f * float64(time.Second))
}

// judge fills in the outcome from the console and the plan. Everything that was
// planned must have run, and only what the rules allow may have been skipped.
func (o *outcome) judge(ctx context.Context, console []byte, plan []step) {
	t := parseConsole(console)
	o.Release, o.Boot = t.release, t.boot
	problem := func(format string, args ...any) { o.Problems = append(o.Problems, fmt.Sprintf(format, args...)) }
	if t.release == "" {
		problem("the kernel did not come up")
		return
	}
	if !t.done {
		problem("the guest did not finish")
	}
	for _, l := range t.kernelLog {
		problem("the kernel complained: %s", l)
	}
	last := t.boot
	if d := t.steps[doctorID]; d != nil {
		last = d.end
	}
	if err := o.judgeDoctor(t.steps[doctorID]); err != nil {
		problem("%v", err)
	}
	for _, s := range plan {
		raw := t.steps[s.ID]
		if raw == nil {
			problem("%s did not run", s.ID)
			continue
		}
		result := stepResult{step: s, Exit: raw.exit}
		if raw.ended {
			result.Wall, last = raw.end-last, raw.end
		}
		tests, err := parseTests(ctx, raw.output)
		if err != nil {
			problem("%s: %v", s.ID, err)
		}
		result.Tests = tests
		o.Steps = append(o.Steps, result)
		o.Problems = append(o.Problems, result.problems(raw.ended)...)
	}
	o.checkModes()
}

// judgeDoctor says what is wrong with what phasetrace doctor found.
func (o *outcome) judgeDoctor(d *rawStep) error {
	if d == nil {
		return errors.New("phasetrace doctor did not run")
	}
	checks, works, err := parseDoctor(d.output)
	o.Checks = checks
	switch {
	case err != nil:
		return err
	case !works && !o.Kernel.refused():
		return errors.New("phasetrace doctor says that tracing does not work")
	case works && o.Kernel.refused():
		return errors.New("phasetrace doctor says that tracing works on a kernel below the floor")
	}
	return nil
}

// problems lists what is wrong with one step.
func (s stepResult) problems(ended bool) []string {
	var out []string
	for _, t := range s.Tests {
		switch {
		case t.Status == failed || t.Status == unfinished:
			out = append(out, fmt.Sprintf("%s: %s: %s: %s", s.ID, t.Name, t.Status, t.Reason))
		case t.Status == skipped && !allowSkip(s.Pkg, t.Name, t.Reason):
			out = append(out, fmt.Sprintf("%s: %s: skipped, and matrix.go does not allow it: %s", s.ID, t.Name, t.Reason))
		}
	}
	switch {
	case !ended:
		out = append(out, s.ID+" did not end")
	case s.Exit != 0 && out == nil:
		out = append(out, fmt.Sprintf("%s: exit status %d", s.ID, s.Exit))
	}
	return out
}

// checkModes refuses a mode in which no test passed.
func (o *outcome) checkModes() {
	for _, m := range o.Kernel.Modes {
		n := 0
		for _, s := range o.Steps {
			if s.Mode == m.Name {
				n += s.count(passed)
			}
		}
		if n == 0 {
			o.Problems = append(o.Problems, "mode "+m.Name+": no test passed")
		}
	}
}

// event is a line of test2json's output.
type event struct {
	Action string
	Test   string
	Output string
}

// parseTests reads the output of a test binary that ran with
// -test.v=test2json, with the Go distribution's own converter.
func parseTests(ctx context.Context, output []byte) ([]test, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json")
	cmd.Stdin = bytes.NewReader(output)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go tool test2json: %w: %s", err, lastLines(stderr.String(), 3))
	}
	return foldEvents(bytes.NewReader(out))
}

// What a test says through package testing, and what a script or a panic says
// at the end, which nothing later replaces.
var (
	reasonLine = regexp.MustCompile(`^(\S+\.go:\d+|panic|FAIL: \S+:\d+|skip): `)
	lastWord   = regexp.MustCompile(`^(panic|FAIL: \S+:\d+|skip): `)
)

// foldEvents turns test2json's events into one result a test.
func foldEvents(r io.Reader) ([]test, error) {
	var order []string
	tests := map[string]*test{}
	for dec := json.NewDecoder(r); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read test2json's output: %w", err)
		}
		if e.Test == "" {
			continue
		}
		t := tests[e.Test]
		if t == nil {
			t = &test{Name: e.Test, Status: unfinished}
			tests[e.Test] = t
			order = append(order, e.Test)
		}
		switch e.Action {
		case "pass", "fail", "skip":
			t.Status = status(e.Action)
		case "output":
			if said := strings.TrimSpace(e.Output); reasonLine.MatchString(said) && !lastWord.MatchString(t.Reason) {
				t.Reason = said
			}
		}
	}
	return leaves(order, tests), nil
}

// leaves returns the tests without subtests, in order: a parent only repeats
// what its subtests say. A parent that failed while none of its subtests did
// counts, too.
func leaves(order []string, tests map[string]*test) []test {
	var out []test
	for _, name := range order {
		below := func(n string) bool { return strings.HasPrefix(n, name+"/") }
		t := tests[name]
		bad := t.Status == failed || t.Status == unfinished
		worse := func(n string) bool {
			s := tests[n].Status
			return below(n) && (s == failed || s == unfinished)
		}
		if !slices.ContainsFunc(order, below) || bad && !slices.ContainsFunc(order, worse) {
			out = append(out, *t)
		}
	}
	for i := range out {
		if out[i].Status == passed {
			out[i].Reason = ""
		}
	}
	return out
}
