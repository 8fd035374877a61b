// SPDX-License-Identifier: Apache-2.0

//go:build cgo && !nonvml

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/nvsample/fakenvml"
	"github.com/phasetrace/phasetrace/internal/output/jsonl"
	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/output/schema"
	"github.com/phasetrace/phasetrace/internal/testenv"
)

// Return values of NVML, nvml.h.
const (
	nvmlNotSupported   = 3
	nvmlNoPermission   = 4
	nvmlDriverNotFound = 9
	nvmlGPULost        = 15
	nvmlMismatch       = 18
)

// gpuLine is what the test reads of a JSON line.
type gpuLine struct {
	EventType string  `json:"event_type"`
	GPUStatus *string `json:"gpu_status"` // of session_start
	Metadata  struct {
		GPU []struct {
			DeviceID int     `json:"device_id"`
			Status   string  `json:"status"`
			Used     *uint64 `json:"used_bytes"`
		} `json:"gpu"`
	} `json:"metadata"`
	Records struct {
		Received, Lost uint64
	} `json:"records"`
}

// Faults of the driver, switched on while tracing through the real NVML
// binding, leave the phases unharmed, give the right status and no zero.
func TestGPUFaults(t *testing.T) {
	testenv.BPF(t)
	dir := t.TempDir()
	library, err := fakenvml.BuildNVML(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	controlFile := filepath.Join(dir, "control")
	c, err := fakenvml.Create(controlFile, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(fakenvml.Env, controlFile)
	pace := fixture.Build(t, "pace.c")
	const gigabyte = 1 << 30
	for _, test := range []struct {
		name    string
		fault   func()
		status  string // of device 1 in the end
		message string // on standard error, once; "" for none
	}{
		{"none", func() {}, "ok", ""},
		{"GPU lost", func() { c.Device[1].MemoryV2Return.Set(nvmlGPULost); c.Device[1].MemoryReturn.Set(nvmlGPULost) }, "device_lost", "GPU 1:"},
		{"not supported", func() {
			c.Device[1].MemoryV2Return.Set(nvmlNotSupported)
			c.Device[1].MemoryReturn.Set(nvmlNotSupported)
		}, "not_supported", "GPU 1:"},
		{"no permission", func() {
			c.Device[1].MemoryV2Return.Set(nvmlNoPermission)
			c.Device[1].MemoryReturn.Set(nvmlNoPermission)
		}, "no_permission", "GPU 1:"},
		{"hanging call", func() { c.Device[1].HangMemory.Set(1) }, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i := range 2 {
				c.Device[i].Used.Set(gigabyte)
				c.Device[i].MemoryV2Return.Set(0)
				c.Device[i].MemoryReturn.Set(0)
				c.Device[i].HangMemory.Set(0)
			}
			lines, stderr := traceWithGPU(t, pace, 100, library, test.fault)
			checkGPULines(t, lines, 100, 2, test.status)
			if s := lines[0].GPUStatus; s != nil {
				t.Errorf("the session starts with GPU status %q, want none", *s)
			}
			c.Device[1].HangMemory.Set(0)
			if test.message != "" && strings.Count(stderr, test.message) != 1 {
				t.Errorf("standard error tells of %q %d times, want once:\n%s", test.message, strings.Count(stderr, test.message), stderr)
			}
		})
	}
	for code, status := range map[uint64]string{nvmlDriverNotFound: "driver_not_loaded", nvmlMismatch: "version_mismatch"} {
		t.Run(status, func(t *testing.T) {
			c.InitReturn.Set(code)
			defer c.InitReturn.Set(0)
			lines, stderr := traceWithGPU(t, pace, 20, library, func() {})
			checkGPULines(t, lines, 20, 0, "")
			if s := lines[0].GPUStatus; s == nil || *s != status {
				t.Errorf("the session starts with GPU status %v, want %q", s, status)
			}
			if strings.Count(stderr, "phasetrace: ") < 2 {
				t.Errorf("nothing said about the driver:\n%s", stderr)
			}
			var out, errs bytes.Buffer
			if got := run(context.Background(), []string{"run", "--gpu", "require", "--nvml-library", library, "--", pace}, nil, &out, &errs); got != statusFailed {
				t.Errorf("--gpu require: exit status %d, want %d: %s", got, statusFailed, &errs)
			}
			if n := strings.Count(errs.String(), "phasetrace: "); n != 1 {
				t.Errorf("--gpu require: told %d times, want once: %s", n, &errs)
			}
		})
	}
}

// traceWithGPU traces the fixture pace and switches the fault on halfway.
func traceWithGPU(t *testing.T, pace string, count int, library string, fault func()) (lines []gpuLine, stderr string) {
	t.Helper()
	p := fixture.Start(t, pace, strconv.Itoa(count), "500", "2500")
	p.Expect("ready")
	out := &lineHook{at: count, call: fault}
	var errs syncBuffer
	done := make(chan int, 1)
	fifo := newFIFO(t)
	go func() {
		done <- run(context.Background(), []string{"-p", strconv.Itoa(p.Pid()), "--format", "jsonl",
			"--nvml-library", library, "--ready-file", fifo}, nil, out, &errs)
	}()
	awaitFIFO(t, fifo)
	p.WriteLine("go")
	p.Expect("done")
	p.WaitOK()
	if status := <-done; status != statusFine {
		t.Fatalf("exit status %d: %s", status, &errs)
	}
	r, err := jsonl.Replay(strings.NewReader(out.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Recorded.GPUSamples == 0 && len(r.Recorded.Devices) > 0 || r.Report.Unknown+r.Report.UnknownFields > 0 {
		t.Errorf("%d samples; report %+v", r.Recorded.GPUSamples, r.Report)
	}
	if diff := outputtest.DiffFigures(r.Recorded, r.Played); diff != "" {
		t.Errorf("figures (-recorded +played):\n%s", diff)
	}
	for line := range strings.Lines(out.String()) {
		if err := schema.Validate([]byte(line)); err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		var l gpuLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines, errs.String()
}

// checkGPULines wants every phase and no zero where a value is not known.
// checkGPULines wants a number of phases with so many readings at each boundary,
// and the status that device 1 has at the last, if any is given.
func checkGPULines(t *testing.T, lines []gpuLine, count, devices int, status string) {
	t.Helper()
	boundaries, last := 0, ""
	for _, l := range lines {
		if !strings.HasPrefix(l.EventType, "phase_") {
			continue
		}
		boundaries++
		if len(l.Metadata.GPU) != devices {
			t.Fatalf("boundary %d has readings of %d devices, want %d", boundaries, len(l.Metadata.GPU), devices)
		}
		for _, g := range l.Metadata.GPU {
			if g.Status == "ok" != (g.Used != nil) {
				t.Fatalf("device %d: status %s with used_bytes %v", g.DeviceID, g.Status, g.Used)
			}
			if g.Used != nil && *g.Used == 0 {
				t.Fatalf("device %d: 0 bytes used", g.DeviceID)
			}
			if g.DeviceID == 1 {
				last = g.Status
			}
		}
	}
	if boundaries != 2*count {
		t.Errorf("%d boundaries, want %d", boundaries, 2*count)
	}
	if end := lines[len(lines)-1]; end.EventType != "session_end" || end.Records.Received != uint64(2*count) || end.Records.Lost != 0 {
		t.Errorf("the last line is %+v", end)
	}
	if status != "" && last != status {
		t.Errorf("device 1 ends with status %q, want %q", last, status)
	}
}
