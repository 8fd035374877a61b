// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/output/schema"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

var hostileTime = flag.Duration("hostile", 10*time.Second, "how long the hostile run takes at least; make hostile: 10m")

// hostileResident bounds what phasetrace may have resident, in bytes, whatever
// it traces: rings, heap and program.
const hostileResident = 256 << 20

// hostileRound is what the hostile run traces again and again: bad names and
// attributes, 100,000 names, processes that come and go, defects, threads that
// end in phases, and eight threads at full speed.
var hostileRound = []string{
	"names.c", "manynames.c 100000", "forkloop.c 100 5", "misnest.c 1000 2", "thread_exit.c 50", "spin.c 8 100000",
}

var roundsRun = regexp.MustCompile(`(?m)^\d+ rounds$`)

// A followed shell runs hostile programs in a loop: phasetrace stays up, keeps
// to its memory, and accounts for what it could not take.
func TestHostileRun(t *testing.T) {
	testenv.BPF(t)
	script := "set -e; rounds=0\nwhile [ $(date +%s) -lt $1 ]; do\n"
	for _, line := range hostileRound {
		if testing.Short() { // emulated processors are slow
			line = strings.Replace(line, "100000", "5000", 1)
		}
		source, args, _ := strings.Cut(line, " ")
		script += fmt.Sprintf("echo go | %s %s >/dev/null\n", fixture.Build(t, source), args)
	}
	script += "rounds=$((rounds + 1)); done; echo $rounds rounds >&2"
	end := fmt.Sprint(time.Now().Add(*hostileTime).Unix())
	cmd := exec.Command("/proc/self/exe", "run", "-f", "--gpu", "off", "--ring-size", "4M", "--format", "jsonl", "--", "sh", "-c", script, "sh", end)
	cmd.Args[0] = "phasetrace"
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	last, lines := lastLine(t, out)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	peak := uint64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) << 10
	if err := schema.Validate(last); err != nil {
		t.Errorf("the last line: %v", err)
	}
	var sum struct {
		countedLine
		EndReason  string `json:"end_reason"`
		Violations struct{ Total uint64 }
	}
	if err := json.Unmarshal(last, &sum); err != nil {
		t.Fatal(err)
	}
	// Where an emulated processor keeps the reader away, every defect may lie in a gap.
	if sum.EventType != "session_end" || sum.EndReason != "target_exit" || sum.Records.Received == 0 || sum.Violations.Total == 0 && !testing.Short() {
		t.Errorf("the last line is a %s by %q with %d markers and %d violations", sum.EventType, sum.EndReason, sum.Records.Received, sum.Violations.Total)
	}
	if peak > hostileResident {
		t.Errorf("%d MiB resident at the most, the bound is %d", peak>>20, hostileResident>>20)
	}
	t.Logf("%s: %d markers, %d of them lost; %d violations; %d lines of output; %d kB resident at the most",
		roundsRun.Find(errs.Bytes()),
		sum.Records.Received+sum.Records.Lost, sum.Records.Lost, sum.Violations.Total, lines, peak>>10)
}

// lastLine reads to the end and returns the last line and how many there were.
func lastLine(t *testing.T, r io.Reader) (last []byte, lines int) {
	t.Helper()
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 1<<20), 1<<28)
	for sc.Scan() {
		lines++
		if last = append(last[:0], sc.Bytes()...); !bytes.HasPrefix(last, []byte("{")) || last[len(last)-1] != '}' {
			t.Fatalf("line %d is no object: %.200q", lines, last)
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return last, lines
}
