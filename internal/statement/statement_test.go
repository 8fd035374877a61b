// SPDX-License-Identifier: Apache-2.0

package statement

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestForm(t *testing.T) {
	f := NewFormer()
	for sql, want := range map[string]string{
		"select 1;": "select ?",
		"SELECT abalance FROM pgbench_accounts WHERE aid = 4711;":                "select abalance from pgbench_accounts where aid = ?",
		"SELECT abalance FROM pgbench_accounts WHERE aid = $1":                   "select abalance from pgbench_accounts where aid = ?",
		"UPDATE t1 SET a = a + -7, b = 'x''y' WHERE \"Col 2\" = 0x1F":            "update t1 set a = a + ?, b = ? where \"Col 2\" = ?",
		"insert into t (a, b) values (1, 'two'), (-3, 'four')":                   "insert into t (a, b) values (?), (?)",
		"select * from t where id in (1, 2,3 , 4)":                               "select * from t where id in (?)",
		"select /* a 'secret' /* inner */ 1 */ 2 -- 'more'\n + 3":                "select ? + ?",
		`select 'a\', 'secret', 'b'`:                                             "select ?, ?, ?",
		`select E'a\', secret', 1e-5`:                                            "select ?, ?",
		"select $body$ secret $x$ 1 $body$, $$secret$$":                          "select ?, ?",
		"select U&'secret', x'5ec7e7', B'101', N'secret'":                        "select ?, ?, ?, ?",
		"select t1.c2, t2.c1 from t1 join t2 on t1.id = t2.id":                   "select t1.c2, t2.c1 from t1 join t2 on t1.id = t2.id",
		"select a-1, a - 1, (a)-1, -1 from t where b between -1 and -2 limit +1": "select a - ?, a - ?, (a) - ?, ? from t where b between ? and ? limit ?",
		"select 'secret that was cut":                                            "select ?",
		"select data->'secret', data ? 'secret' from t":                          "select data -> ?, data ? ? from t",
	} {
		got := f.Form([]byte(sql))
		if got != want {
			t.Errorf("%s\nis   %s\nwant %s", sql, got, want)
		}
		if again := f.Form([]byte(sql)); again != got {
			t.Errorf("%s is %q the second time", sql, again)
		}
		if strings.Contains(got, "secret") || strings.Contains(got, "two") {
			t.Errorf("%s shows a literal", got)
		}
	}
}

// A million different texts take bounded memory, and known forms no time of the lexer.
func TestFormsBounded(t *testing.T) {
	f := NewFormer()
	for i := range 3 * maxKnown {
		f.Form([]byte("select c" + strconv.Itoa(i) + " from t"))
		if len(f.known) > maxKnown || len(f.past) > maxKnown {
			t.Fatalf("%d and %d forms are kept", len(f.known), len(f.past))
		}
	}
	sql := []byte("select a from t where id = 1 and name = 'x'")
	f.Form(sql)
	n := byte('0')
	if allocs := testing.AllocsPerRun(100, func() {
		n = '0' + (n-'0'+1)%10
		sql[27] = n
		f.Form(sql)
	}); allocs != 0 {
		t.Errorf("%v allocations for a statement with another literal", allocs)
	}
}

// FuzzForm: whatever the text, the form is valid, and no longer than the bounds allow.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"select 1", "'", "E'\\", "$a$", "/*", "1e", "\"", "u&'", "--", "select $1::int[]", "\xff'\xff"} {
		f.Add(s)
	}
	former := NewFormer()
	f.Fuzz(func(t *testing.T, sql string) {
		form := former.Form([]byte(sql))
		if !utf8.ValidString(form) {
			t.Errorf("%q has the form %q", sql, form)
		}
		secret := "secretword"
		if strings.Contains(sql, secret) {
			return
		}
		escaped := former.Form([]byte("select '" + strings.ReplaceAll(sql, "'", "''") + secret + "'"))
		if strings.Contains(escaped, secret) || escaped != "select ?" {
			t.Errorf("%q as a literal has the form %q", sql, escaped)
		}
	})
}

func BenchmarkForm(b *testing.B) {
	f := NewFormer()
	sql := []byte("UPDATE pgbench_accounts SET abalance = abalance + -2731 WHERE aid = 57344;")
	b.ReportAllocs()
	for b.Loop() {
		f.Form(sql)
	}
}
