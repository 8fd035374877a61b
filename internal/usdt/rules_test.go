// SPDX-License-Identifier: Apache-2.0

package usdt

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// corpus returns the lists of probes below testdata: of real programs with their
// operands (probes) and of sources by name only (names).
func corpus(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"testdata/probes/*.txt", "testdata/names/*.txt"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal("no lists of probes", err)
		}
		files = append(files, found...)
	}
	return files
}

// TestRulesGolden: what the naming rules make of every probe that is known to the
// project. A person has judged each pair of the golden table; see its head.
func TestRulesGolden(t *testing.T) {
	var b strings.Builder
	for _, file := range corpus(t) {
		sites := goldenProbes(t, file)
		count := map[string]int{}
		var lines strings.Builder
		for _, p := range ByRule(sites) {
			is := "off"
			switch {
			case unlistedReason(p.Provider) != "":
				is = "known"
			case p.DefaultOn:
				is = "on"
			}
			count[is]++
			p.Attrs = nil // TestRuleArguments is about them
			fmt.Fprintf(&lines, "  %-5s %s = %s\n", is, p, p.Name)
		}
		fmt.Fprintf(&b, "\n%s: %d probes; %d pairs on, %d off, %d of a known program\n%s", strings.TrimSuffix(filepath.Base(file), ".txt"),
			len(indexSites(sites)), count["on"], count["off"], count["known"], &lines)
	}
	const golden = "testdata/rules.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-update rewrites it\n%s", diff)
	}
}
