// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// What is open is listed with the time since, and has no row of question marks, unless
// others are inside it.
func TestOpen(t *testing.T) {
	path := pathMaker(t)
	train := path("train")
	step := path("train", "step")
	wait := path("wait")
	forward := path("wait", "forward")
	server := &stream.Process{PID: 7, Comm: "postgres", Title: "postgres: app db [local] SELECT"}
	s := &stream.Summary{
		Time: 5e9, EndReason: "interrupt", OpenTotal: 4,
		Paths: []stream.PathStats{
			{Path: train, Count: 1, Synthetic: 1}, {Path: step, Count: 2, Total: time.Second, P50: time.Second},
			{Path: wait, Count: 1, Synthetic: 1}, {Path: forward, Count: 1, Synthetic: 1},
		},
		Open: []stream.OpenPhase{
			{Path: train, Since: 1e9, Thread: &stream.Thread{TID: 7, Process: server}},
			{Path: wait, Since: 2.7e9, Thread: &stream.Thread{TID: 8, Name: "loader", Process: server}, Attributes: []byte(`{"sql":"select 1"}`)},
			{Path: forward, Since: 4e9},
		},
	}
	got := string(Append(nil, s, Options{}))
	for _, want := range []string{
		"\n4 phases still open at the end\n" +
			"  train: open for 4.00 s  process 7 (postgres: app db [local])\n" +
			"  wait: open for 2.30 s  process 7 (postgres: app db [local]), thread 8 (loader)  sql=\"select 1\"\n" +
			"  wait / forward: open for 1.00 s  ?\n" +
			"  … and 1 more\n",
		"\ntrain ", "\n  step ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for _, gone := range []string{"\nwait ", "\n  forward "} {
		if strings.Contains(got, gone) {
			t.Errorf("%q in\n%s", gone, got)
		}
	}
	s.EndReason = ""
	if got := string(Append(nil, s, Options{})); !strings.Contains(got, "4 phases still open\n") {
		t.Errorf("while it goes on:\n%s", got)
	}
}
