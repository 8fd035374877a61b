// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestExecuted(t *testing.T) {
	const boot = "@@boot 6.12.1 2.0\r\n@@begin exec\r\n"
	for name, c := range map[string]struct{ console, output, problem string }{
		"fine":       {boot + "a\r\n b\r\n\r\n@@end exec 0 3.0\r\n@@log-begin\r\n@@log-end\r\n@@done\r\n", "a\n b\n\n", ""},
		"status":     {boot + "a\r\n@@end exec 3 3.0\r\n@@log-begin\r\n@@log-end\r\n@@done\r\n", "a\n", "the program ended with status 3"},
		"complaint":  {boot + "a\r\n@@end exec 0 3.0\r\n@@log-begin\r\nBUG: bad\r\n@@log-end\r\n@@done\r\n", "a\n", "the kernel complained: BUG: bad"},
		"cut short":  {boot + "a\r\n", "", "the machine ended while the program ran"},
		"never came": {"", "", "the machine ended before it ran anything"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			h := &harness{}
			problem := ""
			if err := h.executed([]byte(c.console), &out); err != nil {
				problem = err.Error()
			}
			if out.String() != c.output || problem != c.problem {
				t.Errorf("%q, %q; want %q, %q", out.String(), problem, c.output, c.problem)
			}
		})
	}
}

func TestExecFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-only amd64-6.12 -exec x -icount":     "",
		"-exec x":                              "name the kernel with -only",
		"-only amd64-6.12,amd64-6.1 -exec x":   "name the kernel with -only",
		"-only amd64-6.12 -exec x -run ^TestA": "and no tests",
		"-only amd64-6.12 -icount":             "-icount goes with -exec",
	} {
		_, err := parseFlags(strings.Fields(args), io.Discard)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// Tests get two processors and real time; what counts instructions gets one, and a
// clock that goes by nothing else.
func TestCountingMachine(t *testing.T) {
	for _, counts := range []bool{false, true} {
		_, args, err := (machine{Arch: "amd64", CountsInstructions: counts}).command()
		if err != nil {
			t.Fatal(err)
		}
		processors := args[slices.Index(args, "-smp")+1]
		if got := slices.Contains(args, "shift=0,sleep=off"); got != counts || (processors == "1") != counts {
			t.Errorf("%v: %q", counts, args)
		}
	}
}
