// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/output/schema"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// countedLine is what the test reads of a JSON line.
type countedLine struct {
	EventType string `json:"event_type"`
	Records   struct {
		Received, Lost uint64
	} `json:"records"`
	Boundaries uint64 `json:"boundaries"`
	Dropped    struct {
		Total      uint64 `json:"total"`
		Boundaries uint64 `json:"boundaries"`
	} `json:"dropped"`
}

// Nobody reads standard output until the program is through: neither it nor the
// session is held up, and every marker was either written at last, or counted as
// lost by the kernel, or as dropped on its way to the output.
func TestSlowReader(t *testing.T) {
	testenv.BPF(t)
	const threads, phases = 2, 200_000
	p := fixture.Start(t, fixture.Build(t, "spin.c"), strconv.Itoa(threads), strconv.Itoa(phases), "inline")
	p.Expect("ready")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tracer := startPhasetrace(t, w, "-p", strconv.Itoa(p.Pid()), "--gpu", "off", "--format", "jsonl")
	w.Close()
	p.WriteLine("go")
	var produced uint64
	for range threads {
		var tid int
		var n, ns uint64
		if _, err := fmt.Sscanf(p.ReadLine(), "thread %d %d %d", &tid, &n, &ns); err != nil {
			t.Fatal(err)
		}
		produced += n
	}
	p.ReadLine() // the total
	p.Expect("again")
	p.CloseStdin()
	p.WaitOK()

	counts := make(map[string]uint64)
	var dropped uint64 // as told where lines are missing
	var last countedLine
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<24)
	for n := 0; lines.Scan(); n++ {
		last = countedLine{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("line %d: %v: %s", n+1, err, lines.Bytes())
		}
		counts[last.EventType]++
		if last.EventType == "records_dropped" {
			dropped += last.Dropped.Total
		}
		if n%1000 == 0 || last.EventType == "session_end" || last.EventType == "records_lost" || last.EventType == "records_dropped" {
			if err := schema.Validate(lines.Bytes()); err != nil {
				t.Errorf("line %d: %v", n+1, err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	tracer.end()
	if last.EventType != "session_end" || last.Records.Received+last.Records.Lost != produced {
		t.Errorf("the last line is %s with %d received and %d lost; the program hit %d markers",
			last.EventType, last.Records.Received, last.Records.Lost, produced)
	}
	if written := counts["phase_enter"] + counts["phase_exit"]; written+last.Dropped.Boundaries != last.Boundaries {
		t.Errorf("%d boundaries are written and %d dropped, of %d", written, last.Dropped.Boundaries, last.Boundaries)
	}
	if last.Dropped.Total == 0 || dropped != last.Dropped.Total {
		t.Errorf("%d lines are dropped, %d of them told in their place: want some and all", last.Dropped.Total, dropped)
	}
	if counts["protocol_error"] != 0 {
		t.Errorf("%d violations", counts["protocol_error"])
	}
	t.Logf("%d produced, %d lost, %d dropped, lines: %v", produced, last.Records.Lost, last.Dropped.Total, counts)
}
