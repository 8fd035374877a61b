// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/output/schema"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// What is open is shown on request, and at the end, instead of rows without a figure.
func TestStillOpen(t *testing.T) {
	testenv.BPF(t)
	p := fixture.Start(t, fixture.Build(t, "stays.c"))
	p.Expect("ready")
	pid := strconv.Itoa(p.Pid())
	out := filepath.Join(t.TempDir(), "out.jsonl")
	tracer := startPhasetrace(t, nil, "-p", pid, "--gpu", "off", "-o", out)
	tracer.await("attached to stays")
	p.WriteLine("go")
	p.Expect("inside")
	open := regexp.MustCompile(`^  outer / inner: open for [0-9.]+ [mµ]?s  process ` + pid + ` \(stays\)  file="batch 7"$`)
	for seen := false; !seen; { // the first requests may come before the records are read
		if err := tracer.Process.Signal(unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		for m := range tracer.messages {
			seen = seen || open.MatchString(m)
			if m == "" && seen {
				break
			}
			if strings.HasPrefix(m, "no GPU memory") { // the last line of a snapshot
				break
			}
		}
	}
	if err := tracer.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	tracer.end()
	p.WriteLine("exit")
	p.Expect("done")
	p.WaitOK()

	lines, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	last := lines[strings.LastIndex(strings.TrimSuffix(string(lines), "\n"), "\n")+1:]
	if err := schema.Validate(last); err != nil {
		t.Error(err)
	}
	var end struct {
		Open struct {
			Total   int
			Longest []struct {
				Path       []string
				PID        int
				OpenNS     int64 `json:"open_ns"`
				Attributes map[string]string
			}
		} `json:"open_phases"`
	}
	if err := json.Unmarshal(last, &end); err != nil {
		t.Fatal(err)
	}
	o := end.Open
	if o.Total != 2 || len(o.Longest) != 2 || o.Longest[1].Attributes["file"] != "batch 7" ||
		o.Longest[0].OpenNS < o.Longest[1].OpenNS || o.Longest[1].OpenNS <= 0 || strconv.Itoa(o.Longest[0].PID) != pid {
		t.Errorf("open at the end: %+v", o)
	}
}
