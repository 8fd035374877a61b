// SPDX-License-Identifier: Apache-2.0

package stream

import "testing"

func TestWithoutActivity(t *testing.T) {
	for title, want := range map[string]string{
		"postgres: app shop [local] idle in transaction":             "postgres: app shop [local]",
		"postgres: app shop 10.0.0.5(53412) UPDATE waiting":          "postgres: app shop 10.0.0.5(53412)",
		"postgres: app shop [local]":                                 "postgres: app shop [local]",
		"postgres: walsender rep 10.0.0.3(5544) streaming 0/3000148": "postgres: walsender rep 10.0.0.3(5544)",
		"postgres: autovacuum worker shop":                           "postgres: autovacuum worker shop",
		"server: job(x) f() (5) of 7":                                "server: job(x) f() (5) of 7",
		"":                                                           "",
		" ":                                                          " ",
	} {
		if got := WithoutActivity(title); got != want {
			t.Errorf("%q is %q, want %q", title, got, want)
		}
	}
}
