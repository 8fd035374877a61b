// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// device is the first line of the program's log.
type device struct {
	Device      *int   `json:"device"`
	Name        string `json:"name"`
	CUDAVersion int    `json:"cuda_version"`
	UUID        string `json:"uuid"` // without "GPU-"; empty when unknown
}

// done is what the program says about one phase: a further line of its log.
// Bytes are the program's own allocations.
type done struct {
	Path       []string `json:"path"`
	Exact      bool     `json:"exact"` // only the program allocated in it
	EnterBytes int64    `json:"enter_bytes"`
	ExitBytes  int64    `json:"exit_bytes"`
	PeakBytes  int64    `json:"peak_bytes"`
	EnteredNS  int64    `json:"entered_ns"` // CLOCK_MONOTONIC
	ExitedNS   int64    `json:"exited_ns"`
}

// row is the comparison of one phase. Peaks are above what was used at enter:
// what other programs use does not count.
type row struct {
	Path                  []string
	WantChange, GotChange int64
	WantPeak, GotPeak     int64
	Samples               int64
	EnterAge, ExitAge     int64 // ns
	Verdict               verdict
	Why                   string
}

type verdict string

const (
	same        verdict = "ok"
	differs     verdict = "DIFFERS"
	unknown     verdict = "UNKNOWN"
	notCompared verdict = "not compared"
)

type report struct {
	Device   device
	Rows     []row
	Problems []string
}

func (r *report) ok() bool {
	return len(r.Problems) == 0 && len(r.Rows) > 0 &&
		!slices.ContainsFunc(r.Rows, func(x row) bool { return x.Verdict == differs || x.Verdict == unknown })
}

// compare puts the program's log beside phasetrace's JSON lines. Sizes may
// differ by tolerance bytes.
func compare(log, trace io.Reader, tolerance int64) (*report, error) {
	r := &report{}
	phases, err := readLog[done](log, &r.Device)
	if err != nil {
		return nil, err
	}
	t, err := readTrace(trace)
	if err != nil {
		return nil, err
	}
	r.Problems = t.problems
	for _, p := range phases {
		path := join(p.Path)
		exits := t.exits[path]
		if len(exits) == 0 {
			r.Problems = append(r.Problems, "phase "+path+" is missing in the trace")
			continue
		}
		exit := exits[0]
		t.exits[path] = exits[1:]
		enter := pick(t.enters[exit.ScopeID].Metadata.GPU, r.Device)
		r.Rows = append(r.Rows, judge(p, enter, pick(exit.Metadata.GPU, r.Device), tolerance))
	}
	for path, left := range t.exits {
		if len(left) > 0 {
			r.Problems = append(r.Problems, fmt.Sprintf("phase %s is %d times too often in the trace", path, len(left)))
		}
	}
	slices.Sort(r.Problems)
	return r, nil
}

func judge(p done, enter, exit *reading, tolerance int64) row {
	r := row{Path: p.Path, WantChange: p.ExitBytes - p.EnterBytes, WantPeak: p.PeakBytes - p.EnterBytes}
	switch {
	case enter == nil || exit == nil:
		r.Verdict, r.Why = unknown, "no reading of the device"
		return r
	case enter.Used == nil || exit.Change == nil || exit.Peak == nil:
		r.Verdict, r.Why = unknown, "status "+enter.Status+" at enter, "+exit.Status+" at exit"
		return r
	}
	r.GotChange, r.GotPeak, r.Samples = *exit.Change, *exit.Peak-*enter.Used, exit.Samples
	if enter.Age != nil && exit.Age != nil {
		r.EnterAge, r.ExitAge = *enter.Age, *exit.Age
	}
	switch {
	case !p.Exact:
		r.Verdict = notCompared
	case off(r.GotChange, r.WantChange) > tolerance || off(r.GotPeak, r.WantPeak) > tolerance:
		r.Verdict = differs
	default:
		r.Verdict = same
	}
	return r
}

func off(a, b int64) int64 { return max(a-b, b-a) }

// pick finds the program's device among the readings.
func pick(list []reading, d device) *reading {
	for i := range list {
		if d.UUID != "" && strings.TrimPrefix(strings.TrimPrefix(list[i].UUID, "GPU-"), "MIG-") == d.UUID {
			return &list[i]
		}
	}
	for i := range list {
		if d.Device != nil && list[i].DeviceID == *d.Device {
			return &list[i]
		}
	}
	return nil
}

// readLog reads a program's log: the device, then lines of one kind.
func readLog[T any](log io.Reader, d *device) ([]T, error) {
	var all []T
	for n, dec := 0, json.NewDecoder(log); ; n++ {
		if n == 0 {
			if err := dec.Decode(d); err != nil || d.Device == nil {
				return nil, fmt.Errorf("read the program's log: no device in its first line: %w; did the program fail?", err)
			}
			continue
		}
		var x T
		switch err := dec.Decode(&x); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read the program's log: line %d: %w", n+1, err)
		}
		all = append(all, x)
	}
}
