// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A console as a guest prints it: firmware noise, carriage returns, the marks
// of -test.v=test2json (a control character before framing lines), a test whose
// output has no line end, and one that never ends.
const console = "SeaBIOS\r\n" +
	"@@boot 6.1.0-56-cloud-amd64 1.50\r\n" +
	"@@begin doctor\r\n" +
	"{ \"works\": true,\r\n" +
	"  \"checks\": [{\"group\": \"kernel\", \"name\": \"uprobe_multi\", \"result\": \"missing\", \"detail\": \"Linux 6.6\"}] }\r\n" +
	"@@end doctor 0 1.60\r\n" +
	"\r\n" +
	"@@begin native:internal/a\r\n" +
	"\x16=== RUN   TestGood\r\n" +
	"no line end\x16--- PASS: TestGood (0.00s)\r\n" +
	"\x16=== NAME  \r\n" +
	"\x16=== RUN   TestTable\r\n" +
	"\x16=== RUN   TestTable/one\r\n" +
	"\x16--- PASS: TestTable/one (0.00s)\r\n" +
	"\x16=== NAME  TestTable\r\n" +
	"\x16=== RUN   TestTable/two\r\n" +
	"    a_test.go:9: needs PostgreSQL\r\n" +
	"\x16--- SKIP: TestTable/two (0.00s)\r\n" +
	"\x16=== NAME  TestTable\r\n" +
	"\x16--- PASS: TestTable (0.00s)\r\n" +
	"\x16=== NAME  \r\n" +
	"PASS\r\n" +
	"\r\n" +
	"@@end native:internal/a 0 4.00\r\n" +
	"\r\n" +
	"@@begin native:internal/b\r\n" +
	"\x16=== RUN   TestBad\r\n" +
	"    b_test.go:3: got 1, want 2\r\n" +
	"\x16--- FAIL: TestBad (0.00s)\r\n" +
	"\x16=== RUN   TestHangs\r\n"

const ending = "panic: test timed out\r\n" +
	"goroutine 1 [running]:\r\n" +
	"\r\n" +
	"@@end native:internal/b 2 9.00\r\n" +
	"@@log-begin\r\n" +
	"@@log-end\r\n" +
	"@@done\r\n"

var (
	oneMode = kernel{ID: "k", Arch: "amd64", Modes: []mode{native}}
	plan    = []step{
		{ID: "native:internal/a", Mode: "native", Pkg: "internal/a"},
		{ID: "native:internal/b", Mode: "native", Pkg: "internal/b"},
	}
)

func judged(k kernel, text string, plan []step) outcome {
	o := outcome{Kernel: k}
	o.judge(context.Background(), []byte(text), plan)
	return o
}

func TestJudge(t *testing.T) {
	o := judged(oneMode, console+ending, plan)
	if o.Release != "6.1.0-56-cloud-amd64" || o.Boot != 1500*time.Millisecond {
		t.Errorf("boot: got %q, %v", o.Release, o.Boot)
	}
	wantChecks := []check{{Group: "kernel", Name: "uprobe_multi", Result: "missing", Detail: "Linux 6.6"}}
	if d := cmp.Diff(wantChecks, o.Checks); d != "" {
		t.Error(d)
	}
	want := []stepResult{
		{step: plan[0], Wall: 2400 * time.Millisecond, Tests: []test{
			{Name: "TestGood", Status: passed},
			{Name: "TestTable/one", Status: passed},
			{Name: "TestTable/two", Status: skipped, Reason: "a_test.go:9: needs PostgreSQL"},
		}},
		{step: plan[1], Exit: 2, Wall: 5 * time.Second, Tests: []test{
			{Name: "TestBad", Status: failed, Reason: "b_test.go:3: got 1, want 2"},
			{Name: "TestHangs", Status: unfinished, Reason: "panic: test timed out"},
		}},
	}
	if d := cmp.Diff(want, o.Steps, cmp.AllowUnexported(stepResult{})); d != "" {
		t.Error(d)
	}
	wantProblems := []string{
		"native:internal/b: TestBad: fail: b_test.go:3: got 1, want 2",
		"native:internal/b: TestHangs: unfinished: panic: test timed out",
	}
	if d := cmp.Diff(wantProblems, o.Problems); d != "" {
		t.Error(d)
	}
}

// Each of these consoles must fail its kernel, with this problem among others.
func TestJudgeRefuses(t *testing.T) {
	good := console[:strings.Index(console, "@@begin native:internal/b")]
	end := "@@log-begin\r\n@@log-end\r\n@@done\r\n"
	for _, tt := range []struct {
		name, console string
		plan          []step
		want          string
	}{
		{"nothing booted", "qemu: could not load kernel\n", plan[:1], "the kernel did not come up"},
		{"guest stopped", good, plan[:1], "the guest did not finish"},
		{"step missing", good + end, plan, "native:internal/b did not run"},
		{"step cut off", console, plan, "native:internal/b did not end"},
		{"kernel complained", good + "@@log-begin\r\n[1.0] WARNING: CPU: 0\r\n@@log-end\r\n@@done\r\n", plan[:1], "the kernel complained: [1.0] WARNING: CPU: 0"},
		{"kernel died", good + "[ 1.9] Oops: int3: 0000 [#1]\r\n", plan[:1], "the kernel complained: [ 1.9] Oops: int3: 0000 [#1]"},
		{"doctor objects", strings.Replace(good, `"works": true`, `"works": false`, 1) + end, plan[:1], "phasetrace doctor says that tracing does not work"},
		{"doctor does not object", good + end, nil, "phasetrace doctor says that tracing works on a kernel below the floor"},
		{"doctor crashed", "@@boot 6.1 1\n@@begin doctor\nsegmentation fault\n@@end doctor 139 2\n" + end, nil,
			"read the result of phasetrace doctor: invalid character 's' looking for beginning of value: segmentation fault"},
		{"no test ran", "@@boot 6.1 1\n@@begin native:internal/a\nPASS\n@@end native:internal/a 0 2\n" + end, plan[:1], "mode native: no test passed"},
		{"exit status alone", strings.Replace(good, "internal/a 0 4.00", "internal/a 66 4.00", 1) + end, plan[:1], "native:internal/a: exit status 66"},
		{"skip not allowed", strings.Replace(good, "needs PostgreSQL", "not today", 1) + end, plan[:1],
			"native:internal/a: TestTable/two: skipped, and matrix.go does not allow it: a_test.go:9: not today"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := oneMode
			if tt.name == "doctor does not object" {
				k.Modes = []mode{refusal}
			}
			o := judged(k, tt.console, tt.plan)
			if !strings.Contains(strings.Join(o.Problems, "\n")+"\n", tt.want+"\n") {
				t.Errorf("problems: got %q, want one to be %q", o.Problems, tt.want)
			}
		})
	}
	if o := judged(oneMode, good+end, plan[:1]); len(o.Problems) > 0 {
		t.Errorf("the same without a fault: %q", o.Problems)
	}
}

func FuzzParseConsole(f *testing.F) {
	f.Add([]byte(console + ending))
	f.Add([]byte("@@end x\n@@begin\n@@end x 1 2\n@@boot\n@@log-end\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tr := parseConsole(b); tr.steps == nil {
			t.Error("no steps")
		}
	})
}
