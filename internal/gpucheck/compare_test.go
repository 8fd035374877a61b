// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

const cannedLog = `{"device":1,"name":"NVIDIA Fake","cuda_version":12040,"uuid":"11-22"}
{"path":["context"],"exact":false,"enter_bytes":0,"exit_bytes":0,"peak_bytes":100}
{"path":["train","step"],"exact":true,"enter_bytes":1000,"exit_bytes":1200,"peak_bytes":1900}
{"path":["train","step"],"exact":true,"enter_bytes":1200,"exit_bytes":1200,"peak_bytes":1200}
{"path":["train"],"exact":true,"enter_bytes":1000,"exit_bytes":1200,"peak_bytes":1900}
`

// The device's other user takes 7000 bytes all the time; device 0 is another.
const cannedTrace = `{"event_type":"session_start"}
{"event_type":"phase_enter","scope_id":"s:1","path":["context"],"metadata":{"gpu":[{"device_id":1,"uuid":"GPU-11-22","used_bytes":7000,"status":"ok"}]}}
{"event_type":"phase_exit","scope_id":"s:1","path":["context"],"metadata":{"gpu":[{"device_id":1,"uuid":"GPU-11-22","used_bytes":7900,"change_bytes":900,"peak_used_bytes":8000,"samples":3,"status":"ok"}]}}
{"event_type":"phase_enter","scope_id":"s:2","path":["train"],"metadata":{"gpu":[{"device_id":0,"uuid":"GPU-99","used_bytes":5,"status":"ok"},{"device_id":1,"uuid":"GPU-11-22","used_bytes":8000,"status":"ok"}]}}
{"event_type":"phase_enter","scope_id":"s:3","path":["train","step"],"metadata":{"gpu":[{"device_id":1,"uuid":"GPU-11-22","used_bytes":8000,"status":"ok","age_ns":-5}]}}
{"event_type":"phase_exit","scope_id":"s:3","path":["train","step"],"metadata":{"gpu":[{"device_id":1,"uuid":"GPU-11-22","used_bytes":8200,"change_bytes":200,"peak_used_bytes":8900,"samples":3,"status":"ok","age_ns":7}]}}
{"event_type":"phase_enter","scope_id":"s:4","path":["train","step"],"metadata":{"gpu":[{"device_id":1,"uuid":"GPU-11-22","used_bytes":8200,"status":"ok"}]}}
{"event_type":"phase_exit","scope_id":"s:4","path":["train","step"],"metadata":{"gpu":[{"device_id":1,"uuid":"GPU-11-22","used_bytes":8200,"change_bytes":0,"peak_used_bytes":8200,"samples":3,"status":"ok"}]}}
{"event_type":"phase_exit","scope_id":"s:2","path":["train"],"metadata":{"gpu":[{"device_id":1,"uuid":"GPU-11-22","used_bytes":8200,"change_bytes":200,"peak_used_bytes":8900,"samples":3,"status":"ok"}]}}
{"event_type":"session_end","synthetic":0,"count":[],"path":7}
`

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		name      string
		old, new  string // replaced in the trace
		ok        bool
		mustShow  string
		tolerance int64
	}{
		{"all right", "", "", true, "all phases agree", 0},
		{"change differs", `"change_bytes":200,"peak_used_bytes":8900,"samples":3,"status":"ok","age_ns":7`, `"change_bytes":150,"peak_used_bytes":8900,"samples":3,"status":"ok","age_ns":7`, false, "DIFFERS", 49},
		{"change within tolerance", `"change_bytes":200`, `"change_bytes":150`, true, "all phases agree", 50},
		{"peak differs", `"peak_used_bytes":8900`, `"peak_used_bytes":8200`, false, "DIFFERS", 0},
		{"what the driver takes is not compared", `"change_bytes":900`, `"change_bytes":12345`, true, "not compared", 0},
		{"unknown is not right", `"change_bytes":0`, `"change_bytes":null`, false, "UNKNOWN", 0},
		{"no reading", `"gpu":[{"device_id":1,"uuid":"GPU-11-22","used_bytes":8200,"change_bytes":0`, `"gpu":[{"device_id":0,"uuid":"GPU-99","used_bytes":8200,"change_bytes":0`, false, "no reading", 0},
		{"found by number", `GPU-11-22`, ``, true, "all phases agree", 0},
		{"missing phase", `"path":["train","step"]`, `"path":["train","other"]`, false, "is missing in the trace", 0},
		{"too many phases", `{"event_type":"session_start"}`, `{"event_type":"phase_exit","scope_id":"s:9","path":["x"]}`, false, "too often", 0},
		{"records lost", `{"event_type":"session_start"}`, `{"event_type":"records_lost","count":3}`, false, "3 records were lost", 0},
		{"violation", `{"event_type":"session_start"}`, `{"event_type":"protocol_error","context":"not LIFO"}`, false, "not LIFO", 0},
		{"closed by phasetrace", `"event_type":"phase_exit","scope_id":"s:2"`, `"event_type":"phase_exit","synthetic":"thread_exit","scope_id":"s:2"`, false, "thread_exit", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trace := cannedTrace
			if tt.old != "" {
				if trace = strings.ReplaceAll(trace, tt.old, tt.new); trace == cannedTrace {
					t.Fatal("the case replaces nothing")
				}
			}
			r, err := compare(strings.NewReader(cannedLog), strings.NewReader(trace), tt.tolerance)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := r.print(&out); (err == nil) != tt.ok {
				t.Errorf("print = %v", err)
			}
			if !strings.Contains(out.String(), tt.mustShow) {
				t.Errorf("no %q in\n%s", tt.mustShow, out.String())
			}
		})
	}
}

func TestCompareBadInput(t *testing.T) {
	for name, in := range map[string][2]string{
		"empty log":    {"", cannedTrace},
		"no device":    {`{"path":["a"]}`, cannedTrace},
		"broken log":   {cannedLog + "{", cannedTrace},
		"broken trace": {cannedLog, "{"},
	} {
		if _, err := compare(strings.NewReader(in[0]), strings.NewReader(in[1]), 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	r, err := compare(strings.NewReader(`{"device":0}`), strings.NewReader(""), 0)
	if err != nil || r.ok() {
		t.Errorf("a run without phases passed: %v", err)
	}
}
