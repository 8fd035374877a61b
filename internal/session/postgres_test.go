// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/testenv"
	"github.com/phasetrace/phasetrace/internal/usdt"

	"github.com/phasetrace/phasetrace/internal/pgtest"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// sqlOf returns the SQL text among a boundary's attributes.
func sqlOf(t *testing.T, b *stream.Boundary) string {
	t.Helper()
	var a struct {
		SQL string `json:"sql"`
	}
	if err := json.Unmarshal(b.Attributes, &a); err != nil {
		t.Fatalf("attributes %s: %v", b.Attributes, err)
	}
	return a.SQL
}

func TestPostgresBackend(t *testing.T) {
	client := startPostgres(t).Connect()
	tr := attach(t, []int{client.Backend}, Config{Pairs: also(t, "plan")})
	statements := []string{
		"select 1;",
		"create table t (a int);",
		"insert into t select generate_series(1, 1000);",
		"select count(*) from t where a % 7 = 0;",
	}
	for _, sql := range statements {
		client.Do(sql)
	}
	client.Close()
	sum := tr.wait()
	if sum.ViolationTotal != 0 || sum.Lost != 0 {
		t.Errorf("%d violations, %d lost; want none", sum.ViolationTotal, sum.Lost)
	}
	inside := make(map[uint64][]string) // phases directly inside a scope
	var queries []stream.Boundary
	for _, b := range tr.boundaries {
		if b.Action != recorder.Exit || b.Lane != "" {
			continue
		}
		inside[b.Parent] = append(inside[b.Parent], b.Path.Name())
		if b.Path.String() == "query" {
			queries = append(queries, b)
		}
		if b.Thread.TID != client.Backend {
			t.Errorf("%s on thread %d, want the backend %d", b.Path, b.Thread.TID, client.Backend)
		}
	}
	if len(queries) != len(statements) {
		t.Fatalf("%d query phases, want %d", len(queries), len(statements))
	}
	for i := range queries {
		if got := sqlOf(t, &queries[i]); got != statements[i] {
			t.Errorf("query %d has sql %q, want %q", i, got, statements[i])
		}
		phases := strings.Join(inside[queries[i].Scope], " ")
		for _, want := range []string{"plan", "execute"} {
			// A utility statement (create) is not planned or executed in this sense.
			if !strings.Contains(statements[i], "create") && !strings.Contains(phases, want) {
				t.Errorf("query %d (%s) contains phases %q, want %s among them", i, statements[i], phases, want)
			}
		}
	}
}

// also are pairs that are added to the default choice by their names.
func also(t *testing.T, names ...string) (pairs []usdt.PairSpec) {
	t.Helper()
	for _, name := range names {
		p, err := usdt.Named(name, true)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// failing are statements of which each every-th fails, the first too.
func failing(statements, every int) string {
	var script strings.Builder
	for i := range statements {
		if i%every == 0 {
			script.WriteString("select 1/0;\n")
		} else {
			script.WriteString("select 1;\n")
		}
	}
	return script.String()
}

// A failing statement leaves its query and plan open for good. The next query
// proves that they are over; nothing grows.
func TestPostgresErrors(t *testing.T) {
	const statements, every = 10000, 10
	client := startPostgres(t).Connect()
	tr := attach(t, []int{client.Backend}, Config{})
	client.Do(failing(statements, every))
	client.Close()
	sum := tr.wait()
	var queries, failed, deepest int
	for _, b := range tr.boundaries {
		if b.Lane != "" {
			continue
		}
		deepest = max(deepest, b.Path.Depth())
		if b.Action == recorder.Exit && b.Path.String() == "query" {
			queries++
			if b.Synthetic == stream.ReasonFailed {
				failed++
			}
		}
	}
	if queries != statements {
		t.Errorf("%d query scopes, want %d", queries, statements)
	}
	if failed != statements/every {
		t.Errorf("%d queries failed, want %d", failed, statements/every)
	}
	if deepest > 3 {
		t.Errorf("a path is %d deep: stale scopes pile up", deepest)
	}
	if sum.ViolationTotal != 0 {
		t.Errorf("%d violations, want none: %+v", sum.ViolationTotal, sum.Violations)
	}
}

// A transaction over several queries crosses them: it lives on its own lane.
func TestPostgresTransactions(t *testing.T) {
	client := startPostgres(t).Connect()
	tr := attach(t, []int{client.Backend}, Config{})
	client.Do("begin;\nselect 1;\nselect 2;\ncommit;")
	client.Do("begin;\nselect 3;\nrollback;")
	client.Close()
	sum := tr.wait()
	if sum.ViolationTotal != 0 {
		t.Errorf("%d violations, want none: %v", sum.ViolationTotal, sum.Violations[0].First.Err)
	}
	for i := range sum.Paths {
		p := &sum.Paths[i]
		if p.Path.String() == "transaction" && !slices.Equal(p.Outcomes, []stream.OutcomeCount{{Outcome: "committed", Count: 1}, {Outcome: "aborted", Count: 1}}) {
			t.Errorf("transactions ended %v, want one committed and one aborted", p.Outcomes)
		}
	}
	var transactions []stream.Boundary
	for _, b := range tr.boundaries {
		if b.Action == recorder.Exit && b.Lane == "transaction" {
			transactions = append(transactions, b)
		}
	}
	if len(transactions) != 2 {
		t.Fatalf("%d transactions, want 2", len(transactions))
	}
	inside := func(tx *stream.Boundary) (n int) {
		for _, b := range tr.boundaries {
			if b.Action == recorder.Exit && b.Path.String() == "query" &&
				b.Time-b.Duration > tx.Time-tx.Duration && b.Time-b.Duration < tx.Time {
				n++
			}
		}
		return n
	}
	for i, want := range []string{"transaction__commit", "transaction__abort"} {
		tx := &transactions[i]
		if tx.Marker == nil || tx.Marker.Probe != want {
			t.Errorf("transaction %d was ended by %+v, want %s", i, tx.Marker, want)
		}
		if n := inside(tx); n < 2 {
			t.Errorf("transaction %d spans the start of %d queries, want at least 2", i, n)
		}
	}
}

// A backend that is killed in a statement is said to have ended in it.
func TestPostgresKilled(t *testing.T) {
	client := startPostgres(t).Connect()
	tr := attach(t, []int{client.Backend}, Config{})
	client.WriteLine("select pg_sleep(600);")
	eventually(t, "the execution to begin", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return slices.ContainsFunc(tr.boundaries, func(b stream.Boundary) bool { return b.Path.String() == "query / execute" })
	})
	if err := unix.Kill(client.Backend, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	sum := tr.wait()
	var in []string
	for _, c := range tr.processes {
		if !c.Started {
			in = c.In
		}
	}
	if !slices.Equal(in, []string{"query / execute", "transaction"}) {
		t.Errorf("the backend ended in %q, want its execution and its transaction", in)
	}
	for i := range sum.Paths {
		if p := &sum.Paths[i]; len(p.Outcomes) != 1 && p.Open+p.Synthetic > 0 {
			t.Errorf("%v has outcomes %v, want how it ended", p.Path, p.Outcomes)
		}
	}
}

// catalogued returns the pair of a name, as --pair has it.
func catalogued(t *testing.T, name string) string {
	for _, p := range usdt.Catalogue() {
		if p.Provider == "postgresql" && p.Name == name {
			return p.String()
		}
	}
	t.Fatalf("no pair is called %s", name)
	return ""
}

// A wait for a lock says in PostgreSQL's words for what, and which statement waits. A
// checkpoint says why it was made.
func TestPostgresWords(t *testing.T) {
	server := startPostgres(t)
	owner, waiter := server.Connect(), server.Connect()
	owner.Do("create table t (a int); insert into t values (1);")
	tr := attach(t, []int{server.Pid()}, Config{Follow: true, Pairs: mustPairs(t, "+"+catalogued(t, "wait for lock"))})
	owner.Do("begin; update t set a = 2;")
	waiter.WriteLine("update t set a = 3;")
	eventually(t, "the wait", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return slices.ContainsFunc(tr.boundaries, func(b stream.Boundary) bool { return b.Path.Name() == "wait for lock" })
	})
	owner.Do("commit; checkpoint;")
	owner.Close()
	waiter.Close()
	tr.stop()
	told := make(map[string]map[string]any)
	for i := range tr.boundaries {
		if b := &tr.boundaries[i]; len(b.Attributes) > 0 {
			var a map[string]any
			if err := json.Unmarshal(b.Attributes, &a); err != nil {
				t.Fatal(err)
			}
			told[b.Path.Name()] = a
		}
	}
	if a := told["wait for lock"]; a["type"] != "transactionid" || a["mode"] != "ShareLock" || a["sql"] != "update t set a = 3;" {
		t.Errorf("the wait tells %v", a)
	}
	if a := told["checkpoint"]; a["flags"] != "immediate force wait requested" {
		t.Errorf("the checkpoint tells %v", a)
	}
}

// Every backend is traced from its first query when the postmaster is followed.
func TestPostgresFollow(t *testing.T) {
	server := startPostgres(t)
	tr := attach(t, []int{server.Pid()}, Config{Follow: true})
	const clients = 8
	backends := make(map[int]bool)
	for range clients {
		c := server.Connect() // its first query asks for the backend's pid
		backends[c.Backend] = true
		c.Do("select 42;")
		c.Close()
	}
	tr.stop()
	first := make(map[int]string)
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Action == recorder.Enter && b.Path.String() == "query" {
			pid := b.Thread.Process.PID
			if _, ok := first[pid]; !ok {
				first[pid] = sqlOf(t, b)
			}
		}
	}
	for pid := range backends {
		if first[pid] != "select pg_backend_pid();" {
			t.Errorf("backend %d: the first query traced is %q, want the very first", pid, first[pid])
		}
	}
}

// Without a query around them, failing statements are proved over by another probe:
// the server's own status report.
func TestPostgresReset(t *testing.T) {
	client := startPostgres(t).Connect()
	client.Do("prepare ok as select 1; prepare bad as select 1/($1 - 1);")
	tr := attach(t, []int{client.Backend}, Config{Pairs: mustPairs(t,
		"postgresql:query__execute__start/query__execute__done;name=execute;reset=statement__status;stale=failed")})
	for range 100 {
		client.Do("execute bad(1);\nexecute ok;")
	}
	client.Close()
	sum := tr.wait()
	if sum.ViolationTotal != 0 {
		t.Errorf("%d violations, want none", sum.ViolationTotal)
	}
	failed := 0
	for _, b := range tr.boundaries {
		if b.Path.Depth() > 2 { // EXECUTE runs a statement within its own
			t.Fatalf("%s: a failed statement stayed open", b.Path)
		}
		if b.Synthetic == stream.ReasonFailed {
			failed++
		}
	}
	if failed < 100 {
		t.Errorf("%d executions failed, want those of the 100 statements that failed", failed)
	}
}

// statementsOf returns the SQL of the phases of a name that have one, in the order of
// their enters, and how many have none.
func statementsOf(t *testing.T, tr *tracing, path string) (sql []string, without int) {
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Action != recorder.Enter || b.Path.String() != path {
			continue
		}
		if len(b.Attributes) == 0 {
			without++
			continue
		}
		sql = append(sql, sqlOf(t, b))
	}
	return sql, without
}

// Messages of the extended protocol have the text of their statement, whatever their
// order: prepared once and executed often, two portals in turn, an error among them.
// What a function runs has none: nobody tells it.
func TestPostgresExtended(t *testing.T) {
	server := startPostgres(t)
	setup := server.Connect()
	setup.Do("create function twice(n int) returns int language plpgsql as $$ declare r int; begin select n * 2 into r; return r; end $$;")
	setup.Close()
	wire := server.Wire()
	tr := attach(t, []int{wire.Backend}, Config{Pairs: also(t, "parse", "rewrite", "plan")})
	wire.Parse("a", "select $1::int + 1")
	wire.Parse("b", "select twice($1::int)")
	wire.Sync()
	for range 3 {
		wire.Bind("p", "a", "1")
		wire.Bind("q", "b", "2")
		wire.Execute("p")
		wire.Execute("q")
		wire.Sync()
	}
	wire.Parse("c", "select 1 / $1::int")
	wire.Bind("", "c", "0")
	wire.Execute("")
	wire.Sync()
	wire.Parse("d", "select generate_series(1, $1::int)")
	wire.Bind("piece", "d", "3")
	wire.ExecuteRows("piece", 2)
	wire.Execute("piece")
	wire.Sync()
	wire.Simple("select 7")
	wire.Close()
	sum := tr.wait()
	if sum.ViolationTotal != 0 || sum.Lost != 0 {
		t.Errorf("%d violations, %d lost; want none", sum.ViolationTotal, sum.Lost)
	}
	a, b, c, d := "select $1::int + 1", "select twice($1::int)", "select 1 / $1::int", "select generate_series(1, $1::int)"
	for path, want := range map[string][]string{
		"parse":   {a, b, c, d},
		"rewrite": {a, b, c, d},
		"execute": {a, b, a, b, a, b, d, d},
		"query":   {"select 7"},
	} {
		if got, without := statementsOf(t, tr, path); !slices.Equal(got, want) || without > 0 {
			t.Errorf("%s phases have sql %q, and %d none; want %q", path, got, without, want)
		}
	}
	plans, without := statementsOf(t, tr, "plan")
	if without > 0 || len(plans) < 4 || !slices.Equal(plans[len(plans)-2:], []string{c, d}) {
		t.Errorf("plan phases have sql %q, and %d none; want the statements bound", plans, without)
	}
	if inner, without := statementsOf(t, tr, "execute / plan"); len(inner) > 0 || without == 0 {
		t.Errorf("plans of a function have sql %q, %d none; want %d of them, none with a text", inner, without, without)
	}
	if inner, _ := statementsOf(t, tr, "query / execute"); len(inner) > 0 {
		t.Errorf("executions inside a query have sql %q; want it on the query alone", inner)
	}
}

// A statement of the default choice costs what its phases do: nothing else is hit, and
// no probe twice. What fails in the extended protocol is over when the server has taken
// the error, not when the next statement comes.
func TestPostgresTraps(t *testing.T) {
	wire := startPostgres(t).Wire()
	wire.Parse("ok", "select $1::int")
	wire.Parse("bad", "select 1 / (g - $1::int) from generate_series(1, 3) g")
	wire.Sync()
	tr := attach(t, []int{wire.Backend}, Config{})
	const rounds = 20
	for range rounds {
		for _, statement := range []string{"ok", "bad", "ok"} {
			wire.Bind("", statement, "2")
			wire.Execute("")
			wire.Sync()
		}
		wire.Simple("select 1")
	}
	wire.Close()
	sum := tr.wait()
	if sum.ViolationTotal != 0 || sum.Lost != 0 {
		t.Errorf("%d violations, %d lost; want none", sum.ViolationTotal, sum.Lost)
	}
	hits := make(map[string]int)
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Path.Depth() > 1 && b.Path.String() != "query / execute" {
			t.Fatalf("%v: a failed statement stayed open", b.Path)
		}
		if b.Synthetic == stream.ReasonNone {
			hits[b.Path.Name()]++
		} else if b.Synthetic != stream.ReasonFailed || b.Path.String() != "execute" || !strings.HasPrefix(sqlOf(t, b), "select 1 /") {
			t.Errorf("%v ended as %v", b.Path, b.Synthetic)
		}
	}
	// An execution that fails has no exit, and a hit of the error handler instead.
	want := map[string]int{"query": 2 * rounds, "execute": 2*4*rounds - rounds, "transaction": 2 * 4 * rounds}
	if !maps.Equal(hits, want) {
		t.Errorf("hits %v, want %v", hits, want)
	}
	if all := uint64(2*rounds + 2*4*rounds + 2*4*rounds); sum.Received != all {
		t.Errorf("%d hits in all, want %d", sum.Received, all)
	}
	if sql, without := statementsOf(t, tr, "execute"); without > 0 || len(sql) != 3*rounds || sql[0] != "select $1::int" {
		t.Errorf("executions have sql %q, %d none", sql, without)
	}
	begun := make(map[string]int)
	for i := range tr.boundaries {
		if b := &tr.boundaries[i]; b.Action == recorder.Enter && b.Lane == "transaction" {
			var a struct {
				By string `json:"begun_by"`
			}
			if err := json.Unmarshal(b.Attributes, &a); err != nil {
				t.Fatal(err)
			}
			begun[a.By]++
		}
	}
	if begun["select $1::int"] != 2*rounds || begun["select 1"] != rounds || len(begun) != 3 {
		t.Errorf("transactions were begun by %v", begun)
	}
}

// The transactions called autovacuum are those of the default choice, with the text that
// pg_stat_activity has.
func TestPostgresAutovacuumPair(t *testing.T) {
	client := startPostgres(t).Connect()
	tr := attach(t, []int{client.Backend}, Config{Pairs: also(t, "autovacuum")})
	client.Do("select 1;")
	client.Close()
	tr.wait()
	var begun []string
	for i := range tr.boundaries {
		if b := &tr.boundaries[i]; b.Action == recorder.Enter && b.Lane == "transaction" {
			begun = append(begun, string(b.Attributes))
		}
	}
	if len(begun) != 1 || !strings.Contains(begun[0], `"begun_by":"select 1;"`) {
		t.Errorf("transactions %q, want one begun by select 1", begun)
	}
}

// startPostgres starts a server that the test is to trace.
func startPostgres(t *testing.T) *pgtest.Server {
	t.Helper()
	testenv.BPF(t)
	return pgtest.Start(t)
}

// What the end of a sort tells: whether it went to disk.
func TestPostgresSorts(t *testing.T) {
	var sort string
	for _, p := range usdt.Catalogue() {
		if p.Provider == "postgresql" && p.Enter == "sort__start" {
			sort = "+" + p.String()
		}
	}
	client := startPostgres(t).Connect()
	tr := attach(t, []int{client.Backend}, Config{Pairs: mustPairs(t, sort)})
	client.Do("set work_mem = '64kB';")
	client.Do("select count(*) from (select g from generate_series(1, 100) g order by g desc offset 0) s;")
	client.Do("select count(*) from (select g from generate_series(1, 100000) g order by g desc offset 0) s;")
	client.Close()
	tr.wait()
	var got []int
	queries := 0
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Action != recorder.Exit {
			continue
		}
		if b.Path.String() == "query" {
			queries++
		}
		if b.Path.String() != "sort" {
			continue
		}
		var end struct{ External, Space *int }
		if err := json.Unmarshal(b.ExitAttributes, &end); err != nil || end.External == nil || end.Space == nil || *end.Space <= 0 {
			t.Fatalf("a sort ends with %s: %v", b.ExitAttributes, err)
		}
		got = append(got, *end.External)
	}
	if !slices.Equal(got, []int{0, 1}) || queries != 3 {
		t.Errorf("sorts that went to disk: %v, in %d queries; want [0 1] in 3", got, queries)
	}
}

// A function that catches the errors of what it runs leaves plans open: they failed,
// and nobody is blamed.
func TestPostgresCaughtErrors(t *testing.T) {
	client := startPostgres(t).Connect()
	client.Do("create function caught() returns int language plpgsql as $$ begin execute 'select 1/0'; return 0; exception when division_by_zero then return 1; end $$;")
	tr := attach(t, []int{client.Backend}, Config{Pairs: also(t, "plan")})
	for range 3 {
		client.Do("select caught();")
	}
	client.Close()
	sum := tr.wait()
	failed := 0
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Synthetic != stream.ReasonNone && (b.Synthetic != stream.ReasonFailed || b.Path.String() != "query / execute / plan") {
			t.Errorf("%v ended as %s", b.Path, b.Synthetic)
		}
		if b.Synthetic == stream.ReasonFailed {
			failed++
		}
	}
	if failed != 3 || sum.ViolationTotal != 0 {
		t.Errorf("%d phases failed, %d violations; want 3 and none", failed, sum.ViolationTotal)
	}
}
