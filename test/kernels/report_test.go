// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// The whole document for a matrix of two kernels, the second of which failed.
func TestMarkdown(t *testing.T) {
	rep := newReport([]outcome{
		judged(oneMode, console+ending, plan),
		judged(kernel{ID: "dead", Arch: "arm64", Modes: []mode{native, as515}}, "no kernel\n", plan),
	}, "make test-kernels")
	golden := filepath.Join("testdata", "report.md")
	if *update {
		if err := os.WriteFile(golden, rep.markdown(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(rep.markdown())); d != "" {
		t.Errorf("run go test ./test/kernels -update when this is wanted: %s", d)
	}
	if err := rep.err(); err == nil || err.Error() != "failed on k, dead" {
		t.Errorf("error: got %v", err)
	}
	var out bytes.Buffer
	rep.summary(&out)
	if !bytes.HasSuffix(out.Bytes(), []byte("\n2 passed, 2 failed, 1 skipped\n")) {
		t.Errorf("summary: got %s", out.Bytes())
	}
}
