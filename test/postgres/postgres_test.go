// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The page has a command for each question, and the check reads it as a shell would.
func TestCommandsOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/postgresql.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range questions {
		commands, err := commandsOf(string(page), q.heading)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.HasPrefix(commands[0], "sudo phasetrace -p $PM -f -d ") {
			t.Errorf("%s: the command is %q", q.heading, commands[0])
		}
	}
}

func TestCommandsOf(t *testing.T) {
	page := "# a\n\n## b\n\ntext\n\n```console\n$ one 'x\n    y' z\n   output\n$ two\n…\n```\n\n```console\n$ three\n```\n\n## c\n\ntext\n"
	got, err := commandsOf(page, "b")
	if want := []string{"one 'x\n    y' z", "two"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("commands %q, %v; want %q", got, err, want)
	}
	for _, heading := range []string{"c", "d"} {
		if got, err := commandsOf(page, heading); err == nil {
			t.Errorf("section %s has commands %q", heading, got)
		}
	}
}

func TestShownDuration(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"    1.766425  6048 autovacuum wor…  <- transaction committed            1.12 s    lane=transaction": 1120 * time.Millisecond,
		"0.712046  25258 postgres app …      <- wait for lock                59.9 ms   type=\"x\"":           59900 * time.Microsecond,
		"0.1  1 x  <- checkpoint  unknown": 0,
	} {
		if got := shownDuration([]string{line}); got != want {
			t.Errorf("%q took %v, want %v", line, got, want)
		}
	}
}

// What differs from what the server says is told.
func TestJudges(t *testing.T) {
	const log = "LOG:  process 7 acquired ShareLock on transaction 745 after 412.345 ms\n"
	const line = `0.7  7 postgres app [local] UPDATE  <- wait for lock  412 ms  type="transactionid" mode="ShareLock" sql="update small set n = n + 1"`
	three := strings.Repeat(log, 1) + strings.ReplaceAll(log, "process 7", "process 8") + strings.ReplaceAll(log, "process 7", "process 9")
	all := line + "\n" + strings.ReplaceAll(line, "  7 ", "  8 ") + "\n" + strings.ReplaceAll(line, "  7 ", "  9 ")
	if a := judgeLocks(all, three); len(a.wrong) != 0 {
		t.Errorf("right waits: %q", a.wrong)
	}
	for name, text := range map[string]string{
		"one missing": line, "another time": strings.Replace(all, "412 ms", "300 ms", 1), "another mode": strings.ReplaceAll(all, "ShareLock", "ExclusiveLock"),
	} {
		if a := judgeLocks(text, three); len(a.wrong) == 0 {
			t.Errorf("%s: nothing differs", name)
		}
	}
	judgeStatementsOf(t)
	before, after := statement{"select ?", 20, 1}, statement{"select ?", 20, 100}
	for text, wrong := range map[string]int{
		"20 -> 20 calls, mean 50 -> 5000 µs  execute: select ?": 0,
		"20 -> 21 calls, mean 50 -> 5000 µs  execute: select ?": 1,
		"20 -> 20 calls, mean 50 -> 5200 µs  execute: select ?": 1,
		"20 -> 20 calls, mean 50 -> 5000 µs  execute: update ?": 1,
		"": 1,
	} {
		if a := judgeChange(text, before, after); len(a.wrong) != wrong {
			t.Errorf("%q: %q, want %d differences", text, a.wrong, wrong)
		}
	}
}

// Calls must be equal, totals within 2 % where a call is long enough.
func judgeStatementsOf(t *testing.T) {
	t.Helper()
	phases := []phase{
		{Path: []string{"query"}, Groups: []group{{Group: "select ?", Count: 10, Total: 90e6}}},
		{Path: []string{"query", "execute"}, Groups: []group{
			{Group: "select ?", Count: 10, Total: 10.1e6}, {Group: "update ?", Count: 10, Total: 40e6}, {Group: "insert ?", Count: 10, Total: 2e6},
		}},
		{Path: []string{"query", "execute", "execute"}, Groups: []group{
			{Group: "update ?", Count: 10, Total: 30.3e6}, {Group: "insert ?", Count: 10, Total: 1e6},
		}},
		{Path: []string{"execute"}, Groups: []group{{Group: "select a", Count: 10, Total: 10e6}}},
	}
	const text = "select ? 10\nselect a 10\nupdate ? 10\ninsert ? 10\n"
	right := []statement{{"begin", 10, 1}, {"select ?", 10, 10}, {"select a", 10, 10}, {"update ?", 10, 30}, {"insert ?", 10, 0.5}}
	if a := judgeStatements(text, phases, right); len(a.wrong) != 0 || a.again {
		t.Errorf("right statements: %q", a.wrong)
	}
	for what, wrong := range map[string]struct {
		at    statement
		again bool
	}{
		"other calls": {statement{"select ?", 11, 10}, false}, "another total": {statement{"select ?", 10, 9}, true},
		"nowhere": {statement{"select b", 10, 10}, false},
	} {
		known := append([]statement{wrong.at}, right[2:]...)
		if a := judgeStatements(text, phases, known); len(a.wrong) == 0 || a.again != wrong.again {
			t.Errorf("%s: %q, again %v", what, a.wrong, a.again)
		}
	}
}
