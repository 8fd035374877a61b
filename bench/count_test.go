// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/bench/instructions"
)

// A variant that is added, renamed or taken away changes the table in the same commit.
func TestCommittedTableHasTheVariants(t *testing.T) {
	text, err := os.ReadFile("instructions.txt")
	if err != nil {
		t.Fatal(err)
	}
	table, err := instructions.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for _, r := range table.Rows {
		have = append(have, r.Name)
	}
	for _, v := range countVariants() {
		want = append(want, v.name)
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("make bench-instructions UPDATE=1 writes the table anew (-measured +table):\n%s", d)
	}
}
