// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"testing"

	"github.com/phasetrace/phasetrace/internal/stream"
)

func TestRoles(t *testing.T) {
	for title, want := range map[string]string{
		"postgres: app shop7 [local] idle in transaction":            "postgres: app shop7 [local]",
		"postgres: app shop7 10.0.0.5(53412) UPDATE waiting":         "postgres: app shop7 10.0.0.5",
		"postgres: app shop7 fe80::1(53412) idle":                    "postgres: app shop7 fe80::1",
		"postgres: main: app shop7 db.example.org(1) idle":           "postgres: main: app shop7 db.example.org",
		"postgres: checkpointer":                                     "postgres: checkpointer",
		"postgres: autovacuum worker shop7":                          "postgres: autovacuum worker shop7",
		"postgres: parallel worker for PID 4711":                     "postgres: parallel worker for PID ?",
		"postgres: startup recovering 00000001000000000000000A":      "postgres: startup recovering ?",
		"postgres: walsender rep 10.0.0.3(5544) streaming 0/3000148": "postgres: walsender rep 10.0.0.3",
		"php-fpm: pool www":                                          "php-fpm: pool www",
		"server: worker 12 (busy)":                                   "server: worker ? (busy)",
		"server: f(x) and g(1)":                                      "server: f(x) and g",
		"(1)":                                                        "(1)",
		"a  b ":                                                      "a  b",
		"":                                                           "",
		"DEAD BEEF":                                                  "DEAD BEEF",
	} {
		if got := string(appendRole(nil, title)); got != want {
			t.Errorf("%q is for %q, want %q", title, got, want)
		}
	}
}

// Connections of one user and database are one group, whatever they are doing.
func TestGroupsByTitle(t *testing.T) {
	path := pathOf(t, "a")
	f := NewBy(mustBy(t, "title"))
	for pid, title := range []string{"postgres: app shop [local] idle", "postgres: app shop [local] UPDATE", "postgres: app other [local] idle", ""} {
		b := ended(path, 0, 10, "")
		b.Thread = &stream.Thread{TID: pid, Process: &stream.Process{PID: pid, Comm: "postgres", Title: title}}
		_ = f.Record(b)
	}
	const want = "postgres: app shop [local] 2×20, postgres 1×10, postgres: app other [local] 1×10"
	if got := groupNames(f.Paths()[0]); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b := ended(path, 0, 10, "")
	b.Thread.Process.Title = "postgres: app shop [local] idle in transaction"
	if n := testing.AllocsPerRun(100, func() { _ = f.Record(b) }); n != 0 {
		t.Errorf("%v allocations an exit", n)
	}
}
