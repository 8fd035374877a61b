// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// fill makes the tables that the questions' loads work on.
func (b *bench) fill() error {
	if err := b.setting("autovacuum", "off"); err != nil {
		return err
	}
	_, err := b.query(
		"create extension pg_stat_statements",
		"create table big as select n, n % 100 as k, repeat('x', 100) || n as note from generate_series(1, 20000) n",
		"create table small (id int primary key, n int)",
		"insert into small select n, 0 from generate_series(1, 1000) n",
		"create table history (id int, at timestamptz)",
		"create table lookup (id int primary key, n int)",
		"insert into lookup select n, 0 from generate_series(1, 100000) n",
		"create table bloat with (autovacuum_enabled = false) as select n, repeat('y', 100) as note from generate_series(1, 400000) n",
		"vacuum analyze big, small, history, lookup, bloat",
		"checkpoint",
	)
	return err
}

// statement is what pg_stat_statements knows of one.
type statement struct {
	form  string // as phasetrace writes it
	calls uint64
	total float64 // ms
}

var parameter = regexp.MustCompile(`\$[0-9]+`)

// statements returns what the server knows since the last reset, what took most first.
func (b *bench) statements() ([]statement, error) {
	out, err := b.query("select calls, total_exec_time, query from pg_stat_statements order by 2 desc")
	if err != nil {
		return nil, err
	}
	var all []statement
	for line := range strings.Lines(out) {
		parts := strings.SplitN(strings.TrimSpace(line), "|", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("pg_stat_statements says %q", line)
		}
		calls, err := strconv.ParseUint(parts[0], 10, 64)
		if err != nil {
			return nil, err
		}
		total, err := strconv.ParseFloat(parts[1], 64)
		if err != nil {
			return nil, err
		}
		form := strings.TrimSuffix(strings.ToLower(parameter.ReplaceAllString(parts[2], "?")), ";")
		if !strings.Contains(form, "pg_stat_statements") {
			all = append(all, statement{form, calls, total})
		}
	}
	return all, nil
}

func (b *bench) forgetStatements() error {
	_, err := b.query("select pg_stat_statements_reset()")
	return err
}

// executed returns the executions of a statement: of one that changes rows, which
// fires the marker twice, the inner ones.
func executed(phases []phase, form string) (found group, ok bool) {
	deepest := 0
	for _, p := range phases {
		if p.Path[len(p.Path)-1] != "execute" || len(p.Path) < deepest {
			continue
		}
		if i := slices.IndexFunc(p.Groups, func(g group) bool { return g.Group == form }); i >= 0 {
			found, ok, deepest = p.Groups[i], true, len(p.Path)
		}
	}
	return found, ok
}

const statementLoad = `\set id random(1, 1000)
\set digit random(0, 9)
select count(*), min(note) from big where note like '%7%';
select sum(n) from lookup where id between :id and :id + 5000;
select sum(n) from lookup where id between :id and :id + 6000;
select sum(n) from lookup where id between :id and :id + 7000;
update big set k = k + 1 where n % 10 = :digit;
select n from small where id = :id;
update small set n = n + 1 where id = :id;
insert into history values (:id, current_timestamp);
`

const (
	// statementRounds are enough for what a connection does but once, such as reading
	// catalogues, to count little.
	statementRounds = 120
	// comparedFrom is how long a call must take, in ms, for totals to be compared: a
	// phase has more than the executor's run, which pg_stat_statements counts. Of what
	// changes rows it has the executor's start and end too.
	comparedFrom       = 0.3
	changeComparedFrom = 2.0
	comparedTo         = 0.02
)

// compared reports whether a statement that takes so many ms is compared by its total.
func compared(form string, each float64) bool {
	if strings.HasPrefix(form, "select") {
		return each >= comparedFrom
	}
	return each >= changeComparedFrom
}

// askStatements holds each statement's calls and total against pg_stat_statements. On a
// busy machine the server's process can lose the CPU between a marker and the executor,
// for longer than many calls take: totals that differ have two more tries, calls none.
func askStatements(b *bench, protocol string, commands []string) (a *answer, err error) {
	for try := 1; try <= 3; try++ {
		if a, err = b.tryStatements(protocol, commands[0]); err != nil || !a.again {
			return a, err
		}
	}
	return a, nil
}

func (b *bench) tryStatements(protocol, command string) (*answer, error) {
	if _, err := b.query("vacuum analyze big"); err != nil {
		return nil, err
	}
	if err := b.forgetStatements(); err != nil {
		return nil, err
	}
	text, err := b.trace(command+" -o - -o statements.jsonl", func() error {
		return b.pgbench(protocol, statementLoad, "-c2", "-t"+strconv.Itoa(statementRounds/2))
	})
	if err != nil {
		return nil, err
	}
	known, err := b.statements()
	if err != nil {
		return nil, err
	}
	phases, err := b.summary("statements.jsonl")
	if err != nil {
		return nil, err
	}
	return judgeStatements(text, phases, known), nil
}

// judgeStatements holds what was traced against what the server knows.
func judgeStatements(text string, phases []phase, known []statement) *answer {
	a := &answer{}
	totals, worst, differ := 0, 0.0, 0
	for _, st := range known {
		if !planned(st.form) {
			continue
		}
		got, ok := executed(phases, st.form)
		if !ok || got.Count != st.calls {
			a.differs("%s: %d calls, want %d", st.form, got.Count, st.calls)
			continue
		}
		if len(lines(text, st.form[:min(len(st.form), 60)], strconv.FormatUint(st.calls, 10))) == 0 {
			a.differs("the table has no %q with %d calls", st.form, st.calls)
		}
		total, each := float64(got.Total)/1e6, st.total/float64(st.calls)
		more, off := total/float64(got.Count)-each, total/st.total-1
		a.beside = append(a.beside, fmt.Sprintf("%8.3f ms a call (%8.3f), %+5.1f µs, %+6.2f %%  %s", each+more, each, 1000*more, 100*off, st.form))
		if !compared(st.form, each) {
			continue
		}
		totals++
		worst = max(worst, math.Abs(off))
		if math.Abs(off) > comparedTo {
			differ++
			a.differs("%s: total %.3f ms, want %.3f ± %.0f %%", st.form, total, st.total, 100*comparedTo)
		}
	}
	a.again = differ > 0 && differ == len(a.wrong)
	if totals < 3 {
		a.differs("only the totals of %d statements are compared, want 3: the others are too short", totals)
	}
	a.text = fmt.Sprintf("calls of %d statements equal, totals of %d within %.2f %%", len(a.beside), totals, 100*worst)
	return a
}

// planned reports whether a statement is one that is run by a plan.
func planned(form string) bool {
	first, _, _ := strings.Cut(form, " ")
	return slices.Contains([]string{"select", "update", "insert", "delete"}, first)
}
