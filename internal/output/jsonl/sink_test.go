// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/output/outputtest"
	"github.com/phasetrace/phasetrace/internal/output/schema"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// play returns the lines of a session.
func play(t *testing.T, s *outputtest.Session) [][]byte {
	t.Helper()
	var out bytes.Buffer
	if err := s.Play(New(&out, "test")); err != nil {
		t.Fatal(err)
	}
	text, ok := bytes.CutSuffix(out.Bytes(), []byte("\n"))
	if !ok {
		t.Fatal("the last line does not end")
	}
	return bytes.Split(text, []byte("\n"))
}

func decode(t *testing.T, line []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return m
}

func TestLinesMatchSchema(t *testing.T) {
	for _, s := range []*outputtest.Session{outputtest.Typical(), outputtest.Hostile()} {
		lines := play(t, s)
		if want := len(s.Records) + 2; len(lines) != want {
			t.Errorf("%d lines, want %d", len(lines), want)
		}
		for _, line := range lines {
			if err := schema.Validate(line); err != nil {
				t.Errorf("%s\n%v", line, err)
			}
			safe(t, line)
			if m := decode(t, line); m["session_id"] != s.Name {
				t.Errorf("session id %q, want %q", m["session_id"], s.Name)
			}
		}
	}
}

func TestEveryEventType(t *testing.T) {
	seen := map[string]bool{}
	for _, line := range play(t, outputtest.Typical()) {
		seen[decode(t, line)["event_type"].(string)] = true
	}
	for _, event := range schema.EventTypes() {
		if !seen[event] {
			t.Errorf("no %s", event)
		}
	}
}

// TestPhaseScope compares the hand-written payload with the recorder's own,
// encoded by encoding/json.
func TestPhaseScope(t *testing.T) {
	for _, s := range []*outputtest.Session{outputtest.Typical(), outputtest.Hostile()} {
		lines := play(t, s)
		for i, r := range s.Records {
			b, ok := r.(*stream.Boundary)
			if !ok {
				continue
			}
			m := decode(t, lines[i+1])
			encoded, err := json.Marshal(b.Metadata())
			if err != nil {
				t.Fatal(err)
			}
			want := decode(t, encoded)["phase_scope"]
			if got := m["metadata"].(map[string]any)["phase_scope"]; !reflect.DeepEqual(got, want) {
				t.Errorf("phase_scope %v\nwant %v", got, want)
			}
			if got, want := m["context"], strings.ToValidUTF8(b.Context(), "\ufffd"); !sameText(got.(string), want) {
				t.Errorf("context %q, want %q", got, want)
			}
			if m["event_type"] != b.EventType() || m["scope_id"] != b.ScopeID() {
				t.Errorf("event %v of %v, want %v of %v", m["event_type"], m["scope_id"], b.EventType(), b.ScopeID())
			}
		}
	}
}

// sameText is equality where a run of invalid bytes may be one U+FFFD or many.
func sameText(a, b string) bool {
	squash := func(s string) string {
		for strings.Contains(s, "\ufffd\ufffd") {
			s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
		}
		return s
	}
	return squash(a) == squash(b)
}

// TestDesignExample holds a boundary's fields and their nesting to the example
// of the design.
func TestDesignExample(t *testing.T) {
	const example = `{"event_type":"phase_exit","timestamp_ns":1790000000123456789,"monotonic_ns":84123456789,"session_id":"s1","rank":0,
 "host":"h","pid":4242,"context":"Phase exited: train / step","scope_id":"s1:7","path":["train","step"],"duration_ns":100000000,
 "metadata":{"phase_scope":{"action":"exit","name":"step","path":["train","step"],"depth":2,"scope_id":"s1:7","parent_scope_id":"s1:1",
   "thread_id":4243,"thread_name":"worker","sequence":8,"attributes":{"epoch":1,"loss":0.25,"file":"x"}},
  "marker":{"provider":"phasetrace","probe":"exit"},
  "thread":{"voluntary_switches":2,"involuntary_switches":0,"minor_faults":11,"major_faults":0},
  "gpu":[{"device_id":0,"uuid":"GPU-x","used_bytes":1,"free_bytes":1,"total_bytes":2,"reserved_bytes":0,"process_used_bytes":null,
          "age_ns":-52000,"latency_ns":11600,"status":"ok","change_bytes":0,"peak_used_bytes":1,"samples":3}]}}`
	for _, line := range play(t, outputtest.Typical()) {
		m := decode(t, line)
		if m["event_type"] == "phase_exit" && strings.HasSuffix(m["context"].(string), "train / step") {
			contains(t, "", m, decode(t, []byte(example)))
			return
		}
	}
	t.Fatal("no such boundary")
}

// contains fails for every field of the example that got lacks or has with
// another type.
func contains(t *testing.T, where string, got, example any) {
	t.Helper()
	switch e := example.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is %T, want an object", where, got)
			return
		}
		for key, value := range e {
			if _, ok := g[key]; !ok {
				t.Errorf("%s/%s is missing", where, key)
				continue
			}
			contains(t, where+"/"+key, g[key], value)
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) == 0 {
			t.Errorf("%s is %v, want a list", where, got)
			return
		}
		contains(t, where+"/0", g[0], e[0])
	case nil:
	default:
		if reflect.TypeOf(got) != reflect.TypeOf(example) {
			t.Errorf("%s is %T, want %T", where, got, example)
		}
	}
}

// TestValues checks values by their place, null included.
func TestValues(t *testing.T) {
	lines := play(t, outputtest.Typical())
	for _, test := range []struct {
		event string
		n     int // which of the lines of that event
		path  string
		want  string // as JSON
	}{
		{"session_start", 0, "schema_version", `1`},
		{"session_start", 0, "devices.1.uuid", `null`},
		{"session_start", 0, "devices.1.mig_instance", `2`},
		{"session_start", 0, "processes.0.container_pid", `7`},
		{"session_start", 0, "gpu_status", `null`},
		{"phase_enter", 0, "metadata.host_memory.resident_bytes", `null`},
		{"phase_enter", 0, "metadata.host_memory.status", `"not_available"`},
		{"phase_enter", 0, "metadata.phase_scope.parent_scope_id", `null`},
		{"phase_enter", 0, "metadata.gpu", `[]`},
		{"phase_enter", 1, "metadata.host_memory.exact", `false`},
		{"phase_enter", 1, "metadata.host_memory.error_bytes", `1048576`},
		{"phase_enter", 1, "metadata.gpu.0.process_used_bytes", `19327352832`},
		{"phase_enter", 1, "metadata.gpu.1.used_bytes", `null`},
		{"phase_enter", 1, "metadata.gpu.1.status", `"device_lost"`},
		{"phase_enter", 1, "metadata.gpu.1.process_status", `"not_listed"`},
		{"phase_exit", 0, "duration_ns", `101000000`},
		{"phase_exit", 0, "metadata.host_memory.change_bytes", `4096`},
		{"phase_exit", 0, "metadata.host_memory.exact", `true`},
		{"phase_exit", 0, "metadata.gpu.0.change_bytes", `536870912`},
		{"phase_exit", 0, "metadata.gpu.1.age_ns", `null`},
		{"phase_exit", 0, "metadata.gpu.1.peak_used_bytes", `null`},
		{"phase_exit", 0, "metadata.gpu.1.status", `"no_sample"`},
		{"phase_exit", 0, "metadata.thread.voluntary_switches", `2`},
		{"phase_exit", 1, "synthetic", `"unwound"`},
		{"phase_exit", 1, "metadata.thread", `null`},
		{"phase_exit", 3, "key", `"9223372036854775813"`},
		{"phase_exit", 3, "lane", `"requests"`},
		{"phase_exit", 3, "metadata.exit_thread.thread_id", `4243`},
		{"protocol_error", 0, "kind", `"not_lifo"`},
		{"protocol_error", 0, "closing.path", `["load"]`},
		{"protocol_error", 0, "top.path", `["load","read"]`},
		{"protocol_error", 0, "top.start_timestamp_ns", `1790000000105534000`},
		{"protocol_error", 1, "kind", `"no_active_phase"`},
		{"protocol_error", 1, "top", `null`},
		{"orphan_exit", 0, "container_thread_id", `8`},
		{"records_lost", 0, "count", `1234`},
		{"gpu_sample", 0, "phase.certainty", `"unique"`},
		{"gpu_sample", 0, "phase.path", `["train","step"]`},
		{"gpu_sample", 0, "phase.likely", `null`},
		{"gpu_sample", 1, "used_bytes", `null`},
		{"gpu_sample", 1, "status", `"device_lost"`},
		{"gpu_sample", 2, "phase.certainty", `"ambiguous"`},
		{"gpu_sample", 2, "phase.path", `null`},
		{"gpu_sample", 2, "phase.likely.path", `["load","read"]`},
		{"gpu_sample", 2, "phase.likely.scope_id", `"s1:5"`},
		{"gpu_sample", 2, "phase.candidate_count", `2`},
		{"process_start", 0, "parent_pid", `4242`},
		{"process_exit", 0, "exit_code", `3`},
		{"process_exit", 1, "exit_code", `null`},
		{"process_exit", 1, "signal", `9`},
		{"session_end", 0, "records", `{"lost":1234,"received":20013}`},
		{"session_end", 0, "violations.total", `80`},
		{"session_end", 0, "violations.distinct.0.count", `40`},
		{"session_end", 0, "phases.0.p99_ns", `null`},
		{"session_end", 0, "phases.1.p99_ns", `12000000`},
		{"session_end", 0, "phases.1.gpu.1.change_bytes", `null`},
		{"session_end", 0, "gpu_peaks.0.phase.path", `["train","step"]`},
		{"session_end", 0, "gpu_peaks.0.phase.likely", `null`},
		{"session_end", 0, "gpu_peaks.1.used_bytes", `null`},
	} {
		n := -1
		at := slices.IndexFunc(lines, func(line []byte) bool {
			if decode(t, line)["event_type"] == test.event {
				n++
			}
			return n == test.n
		})
		if at < 0 {
			t.Fatalf("no line %d of %s", test.n, test.event)
		}
		if got := lookUp(t, decode(t, lines[at]), test.path); got != test.want {
			t.Errorf("%s %d: %s is %s, want %s", test.event, test.n, test.path, got, test.want)
		}
	}
}

func lookUp(t *testing.T, v any, path string) string {
	for _, key := range strings.Split(path, ".") {
		switch inner := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = inner[key]; !ok {
				return "missing"
			}
		case []any:
			i := int(key[0] - '0')
			if i >= len(inner) {
				return "missing"
			}
			v = inner[i]
		default:
			return "missing"
		}
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
