// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/bench/instructions"
)

func committed(t *testing.T) *instructions.Measurement {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", committedTable))
	if err != nil {
		t.Fatal(err)
	}
	m, err := instructions.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A variant that is added, renamed or taken away changes the table in the same commit.
func TestCommittedTableHasTheVariants(t *testing.T) {
	var have, want []string
	for _, r := range committed(t).Rows {
		have = append(have, r.Name)
	}
	for _, v := range countVariants() {
		want = append(want, v.name)
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("make bench-instructions UPDATE=1 writes the table anew (-measured +table):\n%s", d)
	}
}

func TestDocumentedTable(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", documentedTable))
	if err != nil {
		t.Fatal(err)
	}
	want, err := document(page, committed(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(page)); d != "" {
		t.Errorf("%s shows another table than %s (-committed +shown):\n%s", documentedTable, committedTable, d)
	}
}

func TestSameEveryBoot(t *testing.T) {
	boot := func(record float64) *instructions.Measurement {
		return &instructions.Measurement{Kernel: "6.12.1", Rows: []instructions.Row{{Name: "floor", Instructions: 1000}, {Name: "record", Instructions: record}}}
	}
	if err := sameEveryBoot([]*instructions.Measurement{boot(1500), boot(1507), boot(1501)}, io.Discard); err != nil {
		t.Error(err)
	}
	err := sameEveryBoot([]*instructions.Measurement{boot(1500), boot(1508), boot(1501)}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "boots differ by 0.53 %") {
		t.Errorf("got %v", err)
	}
}
