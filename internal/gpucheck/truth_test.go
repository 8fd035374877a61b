// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

// The loop takes 300 bytes in forward and frees them in zero_grad.
const loopLog = `{"device":0,"name":"NVIDIA Fake","cuda_version":12040,"uuid":""}
{"thread":7,"path":["step"],"exit":false,"before_ns":10,"after_ns":12,"before_bytes":0,"after_bytes":0,"calls_ended":0,"calls_begun":0}
{"thread":7,"path":["step","forward"],"exit":false,"before_ns":20,"after_ns":22,"before_bytes":0,"after_bytes":0,"calls_ended":0,"calls_begun":0}
{"thread":7,"path":["step","forward"],"exit":true,"before_ns":30,"after_ns":32,"before_bytes":300,"after_bytes":300,"calls_ended":1,"calls_begun":1}
{"thread":7,"path":["step","zero_grad"],"exit":false,"before_ns":40,"after_ns":42,"before_bytes":300,"after_bytes":300,"calls_ended":1,"calls_begun":1}
{"thread":7,"path":["step","zero_grad"],"exit":true,"before_ns":50,"after_ns":52,"before_bytes":0,"after_bytes":0,"calls_ended":2,"calls_begun":2}
{"thread":7,"path":["step"],"exit":true,"before_ns":60,"after_ns":62,"before_bytes":0,"after_bytes":0,"calls_ended":2,"calls_begun":2}
`

// Others use 1000 bytes. No read came while the program freed: the reading of
// zero_grad's exit, and its null, are marked.
const loopTrace = `{"event_type":"session_start"}
{"event_type":"phase_enter","monotonic_ns":1,"scope_id":"s:1","path":["baseline"],"metadata":{"phase_scope":{"thread_id":7},"gpu":[{"device_id":0,"used_bytes":1000,"low_bytes":1000,"high_bytes":1000,"doubt":[]}]}}
{"event_type":"phase_exit","monotonic_ns":2,"scope_id":"s:1","path":["baseline"],"metadata":{"phase_scope":{"thread_id":7},"gpu":[{"device_id":0,"used_bytes":1000,"low_bytes":1000,"high_bytes":1000,"doubt":[],"change_bytes":0,"change_low_bytes":0,"change_high_bytes":0,"change_doubt":[]}]}}
{"event_type":"phase_enter","monotonic_ns":11,"scope_id":"s:2","path":["step"],"metadata":{"phase_scope":{"thread_id":7},"gpu":[{"device_id":0,"used_bytes":1000,"low_bytes":1000,"high_bytes":1000,"doubt":[]}]}}
{"event_type":"phase_enter","monotonic_ns":21,"scope_id":"s:3","path":["step","forward"],"metadata":{"phase_scope":{"thread_id":7},"gpu":[{"device_id":0,"used_bytes":1000,"low_bytes":1000,"high_bytes":1000,"doubt":[]}]}}
{"event_type":"gpu_sample","monotonic_ns":29,"thread_id":"x"}
{"event_type":"phase_exit","monotonic_ns":31,"scope_id":"s:3","path":["step","forward"],"metadata":{"phase_scope":{"thread_id":7},"gpu":[{"device_id":0,"used_bytes":1300,"low_bytes":1300,"high_bytes":1300,"doubt":[],"change_bytes":300,"change_low_bytes":300,"change_high_bytes":300,"change_doubt":[]}]}}
{"event_type":"phase_enter","monotonic_ns":41,"scope_id":"s:4","path":["step","zero_grad"],"metadata":{"phase_scope":{"thread_id":7},"gpu":[{"device_id":0,"used_bytes":1300,"low_bytes":1300,"high_bytes":1300,"doubt":[]}]}}
{"event_type":"phase_exit","monotonic_ns":51,"scope_id":"s:4","path":["step","zero_grad"],"metadata":{"phase_scope":{"thread_id":7},"gpu":[{"device_id":0,"used_bytes":1300,"low_bytes":1000,"high_bytes":1300,"doubt":["reads_differ"],"change_bytes":null,"change_low_bytes":null,"change_high_bytes":null,"change_doubt":[]}]}}
{"event_type":"gpu_sample","monotonic_ns":55}
{"event_type":"phase_exit","monotonic_ns":61,"scope_id":"s:2","path":["step"],"metadata":{"phase_scope":{"thread_id":7},"gpu":[{"device_id":0,"used_bytes":1000,"low_bytes":1000,"high_bytes":1000,"doubt":[],"change_bytes":0,"change_low_bytes":0,"change_high_bytes":0,"change_doubt":[]}]}}
{"event_type":"gpu_sample","monotonic_ns":70}
{"event_type":"session_end","phases":[{"path":["baseline"],"gpu":[{"device_id":0,"change_bytes":0,"change_low_bytes":0,"change_high_bytes":0,"change_scopes":1,"certain_scopes":1}]},{"path":["step"],"gpu":[{"device_id":0,"change_bytes":0,"change_low_bytes":0,"change_high_bytes":0,"change_scopes":1,"certain_scopes":1}]},{"path":["step","forward"],"gpu":[{"device_id":0,"change_bytes":300,"change_low_bytes":300,"change_high_bytes":300,"change_scopes":1,"certain_scopes":1}]},{"path":["step","zero_grad"],"gpu":[{"device_id":0,"change_bytes":null,"change_low_bytes":null,"change_high_bytes":null,"change_scopes":0,"certain_scopes":0}]}]}
`

func TestCheckLoop(t *testing.T) {
	sum, err := check(strings.NewReader(loopLog), strings.NewReader(loopTrace), bounds{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (counts{Boundaries: 6, Certain: 5, FalseMarked: 1, Exits: 3, CertainChanges: 2, NoChange: 1, Width: 300, Reads: 2, NS: 52}); !sum.ok() || sum.counts != want {
		t.Errorf("got  %+v\nwant %+v", sum, want)
	}
}

// What is wrong in a trace must be seen.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new string // replaced once in the trace
		mustShow string
	}{
		{"false and not marked", `"doubt":["reads_differ"]`, `"doubt":[]`, "exit of step / zero_grad at 50 ns: 1300 bytes in use, said to be certain, and 1000 is the truth"},
		{"change false and not marked", `"change_bytes":300,"change_low_bytes":300`, `"change_bytes":299,"change_low_bytes":300`, "exit of step / forward at 30 ns: a change by 299 bytes, said to be certain, and 300 is the truth"},
		{"parts and whole differ", `"change_bytes":300,"change_low_bytes":300`, `"change_bytes":299,"change_low_bytes":300`, "by 0 by its own figure, and by -1 by what is in it"},
		{"a change is lost as null", `"used_bytes":1300,"low_bytes":1000`, `"used_bytes":1299,"low_bytes":1000`, "and by 1 by what is in it"},
		{"the whole is off", `"doubt":[],"change_bytes":0,"change_low_bytes":0,"change_high_bytes":0,"change_doubt":[]}]}}
{"event_type":"gpu_sample","monotonic_ns":70}`, `"doubt":[],"change_bytes":1,"change_low_bytes":0,"change_high_bytes":0,"change_doubt":[]}]}}`, "by 1 by its own figure"},
		{"session's sum", `"change_bytes":300,"change_low_bytes":300,"change_high_bytes":300,"change_scopes":1`, `"change_bytes":301,"change_low_bytes":300,"change_high_bytes":300,"change_scopes":1`, "the session's sums are 1, 301 (300 to 300), 1"},
		{"session's count of scopes", `"change_scopes":0`, `"change_scopes":1`, "the session's sums are 1, 0"},
		{"session's certain scopes", `"change_scopes":1,"certain_scopes":1}]},{"path":["step"]`, `"change_scopes":1,"certain_scopes":0}]},{"path":["step"]`, "phase baseline: 1 scopes"},
		{"session lacks a path", `,{"path":["step","zero_grad"],"gpu":[{"device_id":0,"change_bytes":null,"change_low_bytes":null,"change_high_bytes":null,"change_scopes":0,"certain_scopes":0}]}`, ``, "phase step / zero_grad: the session's sums lack it"},
		{"no end", `{"event_type":"session_end"`, `{"event_type":"other"`, "no end"},
		{"figure without doubt", `"doubt":["reads_differ"],`, ``, "no figure at the exit of step / zero_grad"},
		{"change without doubt", `"change_high_bytes":300,"change_doubt":[]`, `"change_high_bytes":300`, "does not say whether its change is in doubt"},
		{"no figure", `"used_bytes":1300,"low_bytes":1000`, `"used_bytes":null,"low_bytes":1000`, "no figure at the exit of step / zero_grad"},
		{"boundary lost", `"phase_exit","monotonic_ns":51`, `"other","monotonic_ns":51`, "where the program passed the exit of step / zero_grad"},
		{"last boundary lost", `"phase_exit","monotonic_ns":61`, `"other","monotonic_ns":61`, "the trace ends before the exit of step"},
		{"boundary too many", `{"event_type":"gpu_sample","monotonic_ns":70}`, `{"event_type":"phase_exit","monotonic_ns":71,"path":["step"],"metadata":{"phase_scope":{"thread_id":7}}}`, "1 boundaries too many"},
		{"boundary at another time", `"monotonic_ns":51`, `"monotonic_ns":53`, "phase_exit of step / zero_grad at 53 ns"},
		{"records lost", `{"event_type":"session_start"}`, `{"event_type":"records_lost","count":3}`, "3 records were lost"},
		{"no baseline", `"doubt":[],"change_bytes":0`, `"doubt":["one_sided"],"change_bytes":0`, "what was in use before the loops"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Count(loopTrace, tt.old) == 0 {
				t.Fatal("the case replaces nothing")
			}
			sum, err := check(strings.NewReader(loopLog), strings.NewReader(strings.Replace(loopTrace, tt.old, tt.new, 1)), bounds{})
			if err != nil {
				t.Fatal(err)
			}
			rows := table{}
			rows.add(combination{}, sum)
			var out bytes.Buffer
			if err := rows.print(&out); err == nil {
				t.Error("it passed")
			}
			if !strings.Contains(out.String(), tt.mustShow) {
				t.Errorf("no %q in\n%s", tt.mustShow, out.String())
			}
		})
	}
}

// A call of another thread was under way: nobody knows what is true.
func TestCheckCallUnderWay(t *testing.T) {
	log := strings.Replace(loopLog, `"calls_ended":2,"calls_begun":2`, `"calls_ended":1,"calls_begun":2`, 1)
	trace := strings.Replace(loopTrace, `"doubt":["reads_differ"]`, `"doubt":[]`, 1)
	sum, err := check(strings.NewReader(log), strings.NewReader(trace), bounds{})
	if err != nil {
		t.Fatal(err)
	}
	if !sum.ok() || sum.Unchecked != 1 || sum.Certain != 6 || sum.FalseMarked != 0 {
		t.Errorf("%+v", sum)
	}
}

func TestCheckTolerance(t *testing.T) {
	base := int64(995)
	for tolerance, ok := range map[int64]bool{4: false, 5: true} {
		sum, err := check(strings.NewReader(loopLog), strings.NewReader(loopTrace), bounds{base: &base, tolerance: tolerance})
		if err != nil {
			t.Fatal(err)
		}
		if sum.ok() != ok {
			t.Errorf("off by 5 and allowed %d: %+v", tolerance, sum)
		}
	}
}

func TestCheckBadInput(t *testing.T) {
	for name, in := range map[string][2]string{
		"empty log":    {"", loopTrace},
		"broken log":   {loopLog + "{", loopTrace},
		"broken trace": {loopLog, "{"},
	} {
		if _, err := check(strings.NewReader(in[0]), strings.NewReader(in[1]), bounds{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	sum, err := check(strings.NewReader(`{"device":0}`), strings.NewReader(`{"event_type":"session_end"}`), bounds{base: new(int64)})
	if err != nil || sum.ok() {
		t.Errorf("a run without boundaries passed: %v", err)
	}
	if err := (&table{}).print(&bytes.Buffer{}); err == nil {
		t.Error("no loop passed")
	}
}
