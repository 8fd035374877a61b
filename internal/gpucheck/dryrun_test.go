// SPDX-License-Identifier: Apache-2.0

//go:build linux && cgo && !nonvml

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/nvsample"
	"github.com/phasetrace/phasetrace/internal/nvsample/fakenvml"
)

// The whole check without a GPU and without privileges: the program allocates
// from the fake CUDA driver, the sampler reads the fake NVML beside it, and the
// boundaries are those that the program logged itself.
func TestDryRun(t *testing.T) {
	dir := t.TempDir()
	c := &config{}
	if err := c.prepareFake(dir); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "phases")
	if err := buildProgram(t.Context(), "../..", program); err != nil {
		t.Fatal(err)
	}
	control := filepath.Join(dir, "control")
	t.Setenv(fakenvml.Env, control)
	shared, err := fakenvml.Attach(control)
	if err != nil {
		t.Fatal(err)
	}
	shared.Device[0].Used.Set(1 << 30) // somebody else's
	shared.Device[0].Reserved.Set(300 << 20)

	log := filepath.Join(dir, "log")
	cmd := exec.Command(program, "-l", log, "-t", "60", "-c", c.cuda)
	samples := sampleWhile(t, c.library, cmd)
	logged, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	trace := traceOf(t, logged, samples)
	r, err := compare(bytes.NewReader(logged), bytes.NewReader(trace), 0)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = r.print(&out)
	t.Logf("%s", out.String())
	if err != nil || len(r.Rows) != 14 {
		t.Errorf("%d phases compared: %v", len(r.Rows), err)
	}
	if used := shared.Device[0].Used.Get(); used != 1<<30 {
		t.Errorf("the program left %d bytes", used-1<<30)
	}
}

// sampleWhile reads the GPU while a command runs.
func sampleWhile(t *testing.T, library string, cmd *exec.Cmd) []gpu.Sample {
	t.Helper()
	src, err := nvsample.Open(library)
	if err != nil {
		t.Fatal(err)
	}
	s := gpu.Start(src, gpu.Options{Interval: time.Millisecond, Budget: 1, Queue: 1 << 20})
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the program: %v\n%s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Take(nil)
}

// traceOf writes the JSON lines that phasetrace would, of the boundaries that
// the program logged.
func traceOf(t *testing.T, log []byte, samples []gpu.Sample) []byte {
	t.Helper()
	var d device
	phases, err := readLog[done](bytes.NewReader(log), &d)
	if err != nil {
		t.Fatal(err)
	}
	type boundary struct {
		at    int64
		scope uint32
		exit  bool
	}
	var all []boundary
	for i, p := range phases {
		all = append(all, boundary{p.EnteredNS, uint32(i), false}, boundary{p.ExitedNS, uint32(i), true})
	}
	slices.SortFunc(all, func(a, b boundary) int { return cmp.Compare(a.at, b.at) })
	correlator := gpu.NewCorrelator(gpu.CorrelatorOptions{History: len(samples) + 2})
	for _, s := range samples {
		correlator.Add(s)
	}
	var trace bytes.Buffer
	for _, b := range all {
		kind, readings := "phase_enter", []gpu.Reading(nil)
		if b.exit {
			kind, readings = "phase_exit", correlator.Exit(b.scope, b.at, nil)
		} else {
			readings = correlator.Enter(b.scope, b.at, nil)
		}
		write(t, &trace, kind, phases[b.scope].Path, b.scope, readings)
	}
	return trace.Bytes()
}

func write(t *testing.T, w io.Writer, kind string, path []string, scope uint32, readings []gpu.Reading) {
	t.Helper()
	l := line{ScopeID: fmt.Sprintf("s:%d", scope), Path: path}
	for _, r := range readings {
		x := reading{DeviceID: r.Device, Status: r.Status.String(), Age: &r.Age, Latency: &r.Latency, Samples: int64(r.Samples)}
		x.Used, x.Peak = number(r.Used), number(r.Peak)
		if r.Change.Known {
			x.Change = &r.Change.N
		}
		l.Metadata.GPU = append(l.Metadata.GPU, x)
	}
	text, err := json.Marshal(map[string]any{"event_type": kind, "scope_id": l.ScopeID, "path": l.Path, "metadata": l.Metadata})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, "%s\n", text)
}

func number(v gpu.Value) *int64 {
	if !v.Known {
		return nil
	}
	n := int64(v.N)
	return &n
}
