// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// combination is one run of examples/gpu/loops.c.
type combination struct {
	latency time.Duration // of the fake's reads
	threads int
	where   string // in a phase memory moves
	gap     time.Duration
}

func (c combination) String() string {
	return fmt.Sprintf("reads of %v, %d threads, %s, gaps of %v", c.latency, c.threads, c.where, c.gap)
}

// file is what the files of a run are named after.
func (c combination) file() string {
	return fmt.Sprintf("loop-%dus-%d-%s-%dus", c.latency.Microseconds(), c.threads, c.where, c.gap.Microseconds())
}

// matrix has all combinations, those of one row of the table together.
func matrix(latencies []time.Duration, threads []int, wheres []string, gaps []time.Duration) []combination {
	var all []combination
	for _, latency := range latencies {
		for _, n := range threads {
			for _, where := range wheres {
				for _, gap := range gaps {
					all = append(all, combination{latency, n, where, gap})
				}
			}
		}
	}
	return all
}

// fakeLoops is the whole matrix, for the fake libraries.
func fakeLoops() []combination {
	return matrix([]time.Duration{0, 100 * time.Microsecond, 2 * time.Millisecond}, []int{1, 4}, []string{"start", "middle", "end"},
		[]time.Duration{0, 50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, time.Millisecond})
}

// gpuLoops takes less than a minute on a GPU, whose reads take what they take.
func gpuLoops() []combination {
	return matrix([]time.Duration{0}, []int{1, 4}, []string{"start", "middle", "end"},
		[]time.Duration{0, 100 * time.Microsecond, time.Millisecond})
}

// othersUse is what the fake's other user has, in bytes.
const othersUse = 1 << 30

// loops runs the combinations. Traces that do not hold are left in dir.
func (c *config) loops(ctx context.Context, dir string, all []combination, stderr io.Writer) (*table, error) {
	rows := &table{fake: c.fake}
	for i, x := range all {
		began := time.Now()
		t, err := c.loop(ctx, dir, x, stderr)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", x, err)
		}
		fmt.Fprintf(stderr, "%d of %d: %v: %d boundaries, %.0f %% certain, %.1f s\n", i+1, len(all), x,
			t.Boundaries, percent(t.Certain, t.Boundaries), time.Since(began).Seconds())
		rows.add(x, t)
	}
	return rows, nil
}

// loop runs one combination.
func (c *config) loop(ctx context.Context, dir string, x combination, stderr io.Writer) (*tally, error) {
	b := bounds{tolerance: c.tolerance}
	if c.fake {
		d := &c.control.Device[c.device]
		d.DelayNS.Set(uint64(x.latency))
		d.Used.Set(othersUse)
		d.SetCompute() // the last run's process
		b.base, b.tolerance = new(int64), 0
		*b.base = othersUse
	}
	log, trace := filepath.Join(dir, x.file()+".program.jsonl"), filepath.Join(dir, x.file()+".jsonl")
	var messages bytes.Buffer // with a summary that the table replaces
	if err := c.trace(ctx, trace, 0, &messages, c.loopCommand(dir, log, x)...); err != nil {
		stderr.Write(messages.Bytes())
		return nil, err
	}
	t, err := checkFiles(log, trace, b)
	switch {
	case err != nil:
		return nil, err
	case !t.ok():
		t.Trace = trace
	case c.keep == "":
		return t, errors.Join(os.Remove(log), os.Remove(trace))
	}
	return t, nil
}

func checkFiles(log, trace string, b bounds) (*tally, error) {
	var t *tally
	err := withFiles(log, trace, func(l, r io.Reader) (err error) {
		t, err = check(l, r, b)
		return err
	})
	return t, err
}

// table has a row for each latency, number of threads and place; gaps are folded.
type table struct {
	fake bool
	rows []tableRow
}

type tableRow struct {
	of combination
	counts
	problems []string
}

func (t *table) add(x combination, more *tally) {
	of := x
	of.gap = 0
	if n := len(t.rows); n == 0 || t.rows[n-1].of != of {
		t.rows = append(t.rows, tableRow{of: of})
	}
	r := &t.rows[len(t.rows)-1]
	r.counts.add(&more.counts)
	for _, p := range more.Problems {
		r.problems = append(r.problems, fmt.Sprintf("%v: %s", x, p))
	}
	if !more.ok() {
		r.problems = append(r.problems, fmt.Sprintf("%v: its trace is %s", x, more.Trace))
	}
}

// print writes the table and returns an error if a figure that is said to be
// certain is not true, or figures do not add up.
func (t *table) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "READS\tTHREADS\tMOVES\tBOUNDARIES\tCERTAIN\tFALSE\tOUTSIDE\tUNMARKED\tUNCHECKED\tCHANGES\tCERTAIN\tNONE\tFALSE\tUNMARKED\tINTERVAL\tREADS/S\t")
	good := len(t.rows) > 0
	for i := range t.rows {
		r := &t.rows[i]
		fmt.Fprintf(tw, "%s\t%d\t%s\t%d\t%.1f %%\t%d\t%d\t%d\t%d\t%d\t%.1f %%\t%.1f %%\t%d\t%d\t%.0f MiB\t%.0f\t\n", t.latency(r.of), r.of.threads, r.of.where,
			r.Boundaries, percent(r.Certain, r.Boundaries), r.FalseMarked, r.Outside, r.False, r.Unchecked,
			r.Exits, percent(r.CertainChanges, r.Exits), percent(r.NoChange, r.Exits), r.FalseChangeMarked, r.FalseChange,
			float64(r.Width)/(1<<20)/float64(max(1, r.Boundaries-r.Certain)), float64(r.Reads)/(float64(max(1, r.NS))/1e9))
		good = good && len(r.problems) == 0
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	for i := range t.rows {
		for _, p := range t.rows[i].problems {
			fmt.Fprintln(w, "problem:", p)
		}
	}
	if !good {
		return errors.New("figures that are said to be certain are not true, or do not add up")
	}
	fmt.Fprintln(w, "\nevery figure that is said to be certain is true, and all add up")
	return nil
}

// latency says how long reads take, in words.
func (t *table) latency(x combination) string {
	if !t.fake {
		return "the GPU's"
	}
	return x.latency.String()
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }
