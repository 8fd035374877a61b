// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

const changeLoad = `\set id random(1, 100000)
select n from lookup where id = :id;
update small set n = n + 1 where id = 1 + :id % 1000;
`

const changeRounds = 200

// comparison is a line of the page's comparison of two runs.
var comparison = regexp.MustCompile(`([0-9]+) -> ([0-9]+) calls, mean ([0-9]+) -> ([0-9]+) µs  (\w+): (.*)`)

// askChange drops an index between two runs, and holds the comparison against
// pg_stat_statements.
func askChange(b *bench, protocol string, commands []string) (*answer, error) {
	if len(commands) != 2 {
		return nil, fmt.Errorf("%d commands on the page, want 2", len(commands))
	}
	before, err := b.changeRun(protocol, commands[0])
	if err != nil {
		return nil, err
	}
	if _, err := b.query("alter table lookup drop constraint lookup_pkey"); err != nil {
		return nil, err
	}
	after, err := b.changeRun(protocol, strings.Replace(commands[0], "before.jsonl", "after.jsonl", 1))
	if err != nil {
		return nil, err
	}
	if _, err := b.query("alter table lookup add primary key (id)"); err != nil {
		return nil, err
	}
	compare, err := b.shell(commands[1])
	if err != nil {
		return nil, err
	}
	text, err := compare.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", commands[1], err)
	}
	return judgeChange(string(text), before, after), nil
}

// changeRun traces one run and returns what the server knows of the statement that is
// about to change.
func (b *bench) changeRun(protocol, command string) (statement, error) {
	if err := b.forgetStatements(); err != nil {
		return statement{}, err
	}
	if _, err := b.trace(command, func() error {
		return b.pgbench(protocol, changeLoad, "-c1", "-t"+strconv.Itoa(changeRounds))
	}); err != nil {
		return statement{}, err
	}
	known, err := b.statements()
	if err != nil {
		return statement{}, err
	}
	for _, st := range known {
		if strings.Contains(st.form, "from lookup") {
			return st, nil
		}
	}
	return statement{}, fmt.Errorf("pg_stat_statements does not know the statement on lookup")
}

// judgeChange holds the first line, that of the largest change, against the server.
// Simple statements are compared as a whole, with their planning.
func judgeChange(text string, before, after statement) *answer {
	a := &answer{}
	m := comparison.FindStringSubmatch(text)
	if m == nil {
		a.differs("no comparison in %q", text)
		return a
	}
	first, _, _ := strings.Cut(text, "\n")
	want := after.total * 1000 / float64(after.calls)
	a.text = fmt.Sprintf("%s (mean %.0f -> %.0f)", first, before.total*1000/float64(before.calls), want)
	if m[6] != before.form || m[6] != after.form {
		a.differs("most has changed %q, want %q", m[6], after.form)
	}
	if m[1] != strconv.FormatUint(before.calls, 10) || m[2] != strconv.FormatUint(after.calls, 10) {
		a.differs("%s -> %s calls, want %d -> %d", m[1], m[2], before.calls, after.calls)
	}
	slow, _ := strconv.ParseFloat(m[4], 64)
	slack := 0.02
	if m[5] == "query" {
		slack = 0.1
	}
	if math.Abs(slow/want-1) > slack {
		a.differs("mean %.0f µs with no index, want %.0f ± %.0f %%", slow, want, 100*slack)
	}
	return a
}
