// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the whole matrix, as people read it.
type report struct {
	outcomes []outcome
	command  string
	missing  []string // kernels of the matrix that were not run
}

func newReport(outcomes []outcome, command string) *report {
	return &report{outcomes: outcomes, command: command}
}

// row is a kernel in one mode.
type row struct {
	outcome                 *outcome
	mode                    mode
	passed, skipped, failed int
	wall                    time.Duration
}

func (r *report) rows() []row {
	var rows []row
	for i := range r.outcomes {
		o := &r.outcomes[i]
		for _, m := range o.Kernel.Modes {
			w := row{outcome: o, mode: m}
			for _, s := range o.Steps {
				if s.Mode != m.Name {
					continue
				}
				w.passed += s.count(passed)
				w.skipped += s.count(skipped)
				w.failed += s.count(failed) + s.count(unfinished)
				w.wall += s.Wall
			}
			rows = append(rows, w)
		}
	}
	return rows
}

// err is nil when every kernel passed.
func (r *report) err() error {
	var bad []string
	for _, o := range r.outcomes {
		if len(o.Problems) > 0 {
			bad = append(bad, o.Kernel.ID)
		}
	}
	if bad != nil {
		return fmt.Errorf("failed on %s", strings.Join(bad, ", "))
	}
	return nil
}

// summary prints the matrix, one line a kernel and mode, and a last line with
// the totals.
func (r *report) summary(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "kernel\tarch\tmode\tpassed\tskipped\tfailed\ttime")
	var pass, fail, skip int
	for _, x := range r.rows() {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\t%d\t%v\n", x.outcome.name(), x.outcome.Kernel.Arch, x.mode.Name,
			x.passed, x.skipped, x.failed, x.wall.Round(time.Second))
		pass, fail, skip = pass+x.passed, fail+x.failed, skip+x.skipped
	}
	tw.Flush()
	if r.missing != nil {
		fmt.Fprintf(w, "not run: %s\n", strings.Join(r.missing, ", "))
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", pass, fail, skip)
}

// name is the release as booted, or the package when it never came up.
func (o *outcome) name() string { return cmp.Or(o.Release, o.Package, o.Kernel.ID) }

// markdown is docs/kernels.md.
func (r *report) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Written by %s; do not edit. -->\n\n# Kernels\n\n", r.command)
	fmt.Fprintf(&b, "`%s` boots each of these kernels in an emulated machine (qemu without KVM, two\n"+
		"processors) and runs there the tests that load BPF programs or look at other\nprocesses, once per attach mode. "+
		"A test without subtests counts as one, and so does a subtest.\n\n", r.command)
	if r.missing != nil {
		fmt.Fprintf(&b, "Not run this time: %s.\n\n", strings.Join(r.missing, ", "))
	}
	r.matrix(&b)
	r.modes(&b)
	r.checks(&b)
	r.problems(&b)
	r.skips(&b)
	r.tests(&b)
	return b.Bytes()
}

func (r *report) matrix(b *bytes.Buffer) {
	fmt.Fprint(b, "## Matrix\n\n| kernel | architecture | attach mode | passed | skipped | failed | time |\n|---|---|---|--:|--:|--:|--:|\n")
	for _, x := range r.rows() {
		fmt.Fprintf(b, "| %s | %s | %s | %d | %d | %d | %v |\n", x.outcome.name(), x.outcome.Kernel.Arch, x.mode.Name,
			x.passed, x.skipped, x.failed, x.wall.Round(time.Second))
	}
	fmt.Fprint(b, "\n| kernel | Debian package | tests | first process after | whole run |\n|---|---|---|--:|--:|\n")
	for _, o := range r.outcomes {
		tests := "all"
		switch {
		case o.Kernel.refused():
			tests = "of the refusal"
		case o.Selection != "":
			tests = "`" + escape(o.Selection) + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %v | %v |\n", o.name(), o.Package, tests, o.Boot.Round(100*time.Millisecond), o.Wall.Round(time.Second))
	}
	fmt.Fprintln(b)
}

func (r *report) modes(b *bytes.Buffer) {
	fmt.Fprint(b, "## Attach modes\n\n| mode | forced | what it shows |\n|---|---|---|\n")
	var seen []string
	for _, x := range r.rows() {
		if slices.Contains(seen, x.mode.Name) {
			continue
		}
		seen = append(seen, x.mode.Name)
		forced := "nothing"
		if env := x.mode.env(); env != nil {
			forced = "`" + strings.Join(env, " ") + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", x.mode.Name, forced, x.mode.Why)
	}
	fmt.Fprintln(b)
}

// checks is what phasetrace doctor found on each kernel: result and detail.
func (r *report) checks(b *bytes.Buffer) {
	var order []string
	found := map[string]map[string]check{}
	for _, o := range r.outcomes {
		for _, c := range o.Checks {
			if c.Group != "kernel" && c.Group != "system" {
				continue
			}
			if found[c.Name] == nil {
				found[c.Name] = map[string]check{}
				order = append(order, c.Name)
			}
			found[c.Name][o.Kernel.ID] = c
		}
	}
	if order == nil {
		return
	}
	fmt.Fprint(b, "## What phasetrace doctor finds\n\n| check |")
	for _, o := range r.outcomes {
		fmt.Fprintf(b, " %s |", o.Kernel.ID)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(r.outcomes)))
	for _, name := range order {
		fmt.Fprintf(b, "| %s |", name)
		for _, o := range r.outcomes {
			c := found[name][o.Kernel.ID]
			fmt.Fprintf(b, " %s |", escape(strings.Trim(c.Result+": "+c.Detail, ": ")))
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintln(b)
}

func (r *report) problems(b *bytes.Buffer) {
	if r.err() == nil {
		return
	}
	fmt.Fprint(b, "## Failures\n\n")
	for _, o := range r.outcomes {
		for _, p := range o.Problems {
			fmt.Fprintf(b, "- %s: %s\n", o.name(), escape(p))
		}
	}
	fmt.Fprintln(b)
}

func (r *report) skips(b *bytes.Buffer) {
	type skip struct{ pkg, test, reason string }
	on := map[skip][]string{}
	var order []skip
	for _, o := range r.outcomes {
		for _, s := range o.Steps {
			for _, t := range s.Tests {
				if t.Status != skipped {
					continue
				}
				k := skip{s.Pkg, t.Name, t.Reason}
				if on[k] == nil {
					order = append(order, k)
				}
				on[k] = append(on[k], column(o.Kernel, s.Mode))
			}
		}
	}
	if order == nil {
		return
	}
	fmt.Fprint(b, "## Skipped\n\n| package | test | reason | where |\n|---|---|---|---|\n")
	for _, k := range order {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", k.pkg, escape(k.test), escape(k.reason), everywhere(on[k], len(r.rows())))
	}
	fmt.Fprintln(b)
}

// tests is one table a package: which top-level test passed where.
func (r *report) tests(b *bytes.Buffer) {
	rows := r.rows()
	type cell struct{ pkg, test, column string }
	cells := map[cell]status{}
	var pkgs []string
	names := map[string][]string{}
	for _, o := range r.outcomes {
		for _, s := range o.Steps {
			if names[s.Pkg] == nil {
				pkgs = append(pkgs, s.Pkg)
			}
			for _, t := range s.Tests {
				top, _, _ := strings.Cut(t.Name, "/")
				if !slices.Contains(names[s.Pkg], top) {
					names[s.Pkg] = append(names[s.Pkg], top)
				}
				c := cell{s.Pkg, top, column(o.Kernel, s.Mode)}
				cells[c] = worst(cells[c], t.Status)
			}
		}
	}
	fmt.Fprint(b, "## Tests\n\nA test with subtests shows the worst of them; one that passed with some of its subtests skipped says so.\n")
	for _, pkg := range pkgs {
		fmt.Fprintf(b, "\n### %s\n\n| test |", pkg)
		for _, x := range rows {
			fmt.Fprintf(b, " %s |", column(x.outcome.Kernel, x.mode.Name))
		}
		fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(rows)))
		slices.Sort(names[pkg])
		for _, n := range names[pkg] {
			fmt.Fprintf(b, "| %s |", n)
			for _, x := range rows {
				fmt.Fprintf(b, " %s |", cells[cell{pkg, n, column(x.outcome.Kernel, x.mode.Name)}])
			}
			fmt.Fprintln(b)
		}
	}
}

func column(k kernel, mode string) string { return k.ID + " " + mode }

// worst of two results of one test's parts. "pass, skip" is a test whose parts
// did both.
func worst(a, b status) status {
	const mixed = passed + ", " + skipped
	switch {
	case a == "" || a == b:
		return b
	case a == failed || b == failed:
		return failed
	case a == unfinished || b == unfinished:
		return unfinished
	default:
		return mixed
	}
}

func everywhere(where []string, all int) string {
	if len(where) == all {
		return "everywhere"
	}
	return strings.Join(where, ", ")
}

// escape makes text of other origin safe within a table.
func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(s)
}
