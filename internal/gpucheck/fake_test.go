// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/testenv"
)

// The check as `make gpu-check` runs it, with the real phasetrace and probes in
// the real program; only the two NVIDIA libraries are fake.
func TestFakeGPU(t *testing.T) {
	testenv.BPF(t)
	var out, messages bytes.Buffer
	err := run(t.Context(), []string{"-fake", "-hold", "60ms", "-keep", t.TempDir()}, &out, &messages)
	t.Logf("%s\n%s", messages.String(), out.String())
	if err != nil {
		t.Error(err)
	}
}

// A part of what `make gpu-loops` runs: phases that follow each other at once, where
// no read can come between.
func TestFakeLoops(t *testing.T) {
	testenv.BPF(t)
	var out, messages bytes.Buffer
	c, err := parse([]string{"-fake", "-loops", "-rounds", "10"}, &messages)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := c.prepare(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	const us = time.Microsecond
	rows, err := c.loops(t.Context(), dir, []combination{
		{0, 1, "start", 0}, {0, 1, "middle", 100 * us}, {0, 1, "end", 1000 * us}, {0, 4, "middle", 0},
		{100 * us, 1, "end", 50 * us}, {2000 * us, 4, "start", 200 * us},
	}, &messages)
	if err == nil {
		err = rows.print(&out)
	}
	t.Logf("%s\n%s", messages.String(), out.String())
	if err != nil {
		t.Fatal(err)
	}
	var sum counts
	for i := range rows.rows {
		sum.add(&rows.rows[i].counts)
	}
	if sum.Boundaries != 10*8*(4+4+1+1+1+1) || sum.Certain == 0 || sum.FalseMarked == 0 || sum.Reads == 0 {
		t.Errorf("the loops tell nothing: %+v", sum)
	}
}
