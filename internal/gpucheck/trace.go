// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// line is what the check reads of a JSON line of phasetrace.
type line struct {
	EventType   string   `json:"event_type"`
	MonotonicNS int64    `json:"monotonic_ns"`
	ScopeID     string   `json:"scope_id"`
	Path        []string `json:"path"`
	Context     string   `json:"context"`
	Synthetic   string   `json:"synthetic"`
	Count       int64    `json:"count"`
	Metadata    struct {
		Scope struct {
			ThreadID int `json:"thread_id"`
		} `json:"phase_scope"`
		GPU []reading `json:"gpu"`
	} `json:"metadata"`
}

// reading is a boundary's figures of a device, in bytes and ns. No reason for doubt
// is an empty list; nil is a trace that does not tell.
type reading struct {
	DeviceID     int      `json:"device_id"`
	UUID         string   `json:"uuid"`
	Status       string   `json:"status"`
	Used         *int64   `json:"used_bytes"`
	Low          *int64   `json:"low_bytes"`
	High         *int64   `json:"high_bytes"`
	Doubt        []string `json:"doubt"`
	Change       *int64   `json:"change_bytes"`
	ChangeLow    *int64   `json:"change_low_bytes"`
	ChangeHigh   *int64   `json:"change_high_bytes"`
	ChangeDoubt  []string `json:"change_doubt"`
	Peak         *int64   `json:"peak_used_bytes"`
	Age          *int64   `json:"age_ns"`
	Latency      *int64   `json:"latency_ns"`
	Samples      int64    `json:"samples"`
	ChangeScopes int64    `json:"change_scopes"` // only of a session_end
	Certain      int64    `json:"certain_scopes"`
}

// ending is what the check reads of a session_end.
type ending struct {
	Phases []struct {
		Path []string  `json:"path"`
		GPU  []reading `json:"gpu"`
	} `json:"phases"`
}

// traced is a trace: its boundaries in order, and by scope and by path.
type traced struct {
	boundaries []line
	enters     map[string]line   // by scope
	exits      map[string][]line // by path, in order
	samples    []int64           // when memory was read
	end        *ending
	problems   []string
}

func readTrace(trace io.Reader) (*traced, error) {
	t := &traced{enters: map[string]line{}, exits: map[string][]line{}}
	lines := bufio.NewScanner(trace)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		if err := t.add(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("read the trace: line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the trace: %w", err)
	}
	return t, nil
}

// add takes one line. Lines of other types have fields of the same names with
// other meanings.
func (t *traced) add(text []byte) error {
	var kind struct {
		EventType string `json:"event_type"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return err
	}
	switch kind.EventType {
	case "phase_enter", "phase_exit", "protocol_error", "orphan_exit", "records_lost":
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return err
		}
		t.addLine(l)
	case "gpu_sample":
		var s struct {
			MonotonicNS int64 `json:"monotonic_ns"`
		}
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		t.samples = append(t.samples, s.MonotonicNS)
	case "session_end":
		return json.Unmarshal(text, &t.end)
	}
	return nil
}

func (t *traced) addLine(l line) {
	switch l.EventType {
	case "phase_enter":
		t.boundaries = append(t.boundaries, l)
		t.enters[l.ScopeID] = l
	case "phase_exit":
		t.boundaries = append(t.boundaries, l)
		path := join(l.Path)
		t.exits[path] = append(t.exits[path], l)
		if l.Synthetic != "" {
			t.problems = append(t.problems, "phase "+path+" was closed for the program: "+l.Synthetic)
		}
	case "protocol_error", "orphan_exit":
		t.problems = append(t.problems, l.EventType+": "+l.Context)
	case "records_lost":
		t.problems = append(t.problems, fmt.Sprintf("%d records were lost", l.Count))
	}
}

func join(path []string) string { return strings.Join(path, " / ") }
