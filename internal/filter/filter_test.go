// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

func mustParse(tb testing.TB, expression string) *Filter {
	tb.Helper()
	f, err := Parse(expression)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// boundaries returns the enter and the exit of one phase.
func boundaries(tb testing.TB) (enter, exit *stream.Boundary) {
	tb.Helper()
	paths := recorder.NewPaths(recorder.Limits{})
	outer, _, err := paths.Child(nil, "load")
	if err != nil {
		tb.Fatal(err)
	}
	path, _, err := paths.Child(outer, "query")
	if err != nil {
		tb.Fatal(err)
	}
	thread := &stream.Thread{TID: 71, Name: "worker", Process: &stream.Process{PID: 7, Comm: "autovacuum work", Exe: "/usr/bin/postgres", Title: "postgres: app shop"}}
	enter = &stream.Boundary{
		Boundary: recorder.Boundary{Action: recorder.Enter, Path: path, Rank: 3, Attributes: []byte(`{"db":"app","rows":12.5,"sql":"select \"x\" && 1"}`)},
		Thread:   thread,
	}
	e := *enter
	e.Action, e.Duration, e.ExitAttributes = recorder.Exit, int64(20*time.Millisecond), []byte(`{"status":"ok"}`)
	return enter, &e
}

func TestKeep(t *testing.T) {
	for expression, want := range map[string]string{ // which of the two are kept
		`process~autovacuum`:                    "enter exit",
		`process=postgres`:                      "enter exit",
		`process!=postgres`:                     "",
		`process!~vacuum`:                       "",
		`process!~mysql`:                        "enter exit",
		`process~"app shop"`:                    "enter exit",
		`process!~"app shop"`:                   "",
		`thread=worker`:                         "enter exit",
		`phase=query`:                           "enter exit",
		`phase=load`:                            "",
		`path~load / q`:                         "enter exit",
		`path = "load / query"`:                 "enter exit",
		`attr.db=app`:                           "enter exit",
		`attr.db != app`:                        "",
		`attr.db~pp`:                            "enter exit",
		`attr.sql~"\" && 1"`:                    "enter exit",
		`attr.none!=app`:                        "",
		`attr.none!~app`:                        "",
		`attr.rows>12`:                          "enter exit",
		`attr.rows<=12`:                         "",
		`attr.db>1`:                             "",
		`attr.status=ok`:                        "exit",
		`rank=3`:                                "enter exit",
		`rank>3`:                                "",
		`pid=7&&tid=71`:                         "enter exit",
		`pid=8`:                                 "",
		`duration>10ms`:                         "exit",
		`duration>=20ms`:                        "exit",
		`duration>20ms`:                         "",
		`duration<1s && duration>1ms && rank<4`: "exit",
		`phase=query && attr.db=app && rank!=3`: "",
		`rank==3 && phase==query`:               "enter exit",
		`phase=query || phase=load`:             "error",
		`phase=="=query"`:                       "",
		`phase="a || b"`:                        "",
		`phase=~query`:                          "error",
		`phase===query`:                         "error",
		` phase = query  &&  attr.db = "app"  `: "enter exit",
		`thread>="x"`:                           "error",
		`duration=5ms`:                          "error",
		`duration>5`:                            "error",
		`duration>-5ms`:                         "error",
		`rank~3`:                                "error",
		`rank=three`:                            "error",
		`attr.=3`:                               "error",
		`attr.rows<many`:                        "error",
		`process`:                               "error",
		`process=`:                              "error",
		`=x`:                                    "error",
		`colour=red`:                            "error",
		`phase=a &&`:                            "error",
		`&& phase=a`:                            "error",
		`phase="a`:                              "error",
		`phase="a" b`:                           "error",
		`phase!a`:                               "error",
		``:                                      "error",
		strings.Repeat("rank=1&&", 40) + "rank=1": "error",
	} {
		f, err := Parse(expression)
		if err != nil {
			if want != "error" {
				t.Errorf("%s: %v", expression, err)
			}
			continue
		}
		enter, exit := boundaries(t)
		var got []string
		if f.Keep(enter) {
			got = append(got, "enter")
		}
		if f.Keep(exit) {
			got = append(got, "exit")
		}
		if s := strings.Join(got, " "); s != want || f.LeftOut() != uint64(2-len(got)) {
			t.Errorf("%s: keeps %q, %d left out; want %q", expression, s, f.LeftOut(), want)
		}
	}
}

// What is wrong, who is there, and phases whose duration nobody knows are kept.
func TestKeepAlways(t *testing.T) {
	f := mustParse(t, "duration>1h")
	for _, r := range []stream.Record{&stream.Violation{}, &stream.Orphan{}, &stream.Loss{}, &stream.ProcessChange{}, &stream.Sample{}} {
		if !f.Keep(r) {
			t.Errorf("%T is left out", r)
		}
	}
	_, exit := boundaries(t)
	exit.Synthetic = stream.ReasonSessionEnd
	doubtful := *exit
	doubtful.Synthetic, doubtful.Doubt = stream.ReasonNone, stream.DoubtOverlapping
	if !f.Keep(exit) || !f.Keep(&doubtful) || f.LeftOut() != 0 {
		t.Error("a phase whose duration is not known is left out")
	}
}

func TestAnd(t *testing.T) {
	f := &Filter{}
	if !f.Empty() || f.ExitsOnly() {
		t.Error("a filter without conditions has some")
	}
	f.And(mustParse(t, "rank=3"))
	if f.Empty() || f.ExitsOnly() {
		t.Error("rank=3 looks at durations")
	}
	f.AtLeast(10 * time.Millisecond)
	if got := f.String(); got != "rank=3 && duration>=10ms" || !f.ExitsOnly() {
		t.Errorf("%s, exits only %v", got, f.ExitsOnly())
	}
}

func TestKeepDoesNotAllocate(t *testing.T) {
	f := mustParse(t, `process~vacuum && attr.db=app && attr.sql~"1" && duration>=1ms && phase=query`)
	enter, exit := boundaries(t)
	f.Keep(exit)
	if n := testing.AllocsPerRun(1000, func() { f.Keep(enter); f.Keep(exit) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An expression that is taken says the same when it is written out and taken again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`process~autovacuum`, `attr.db=app && duration>10ms`, `phase="a && b"`, `rank>=-1`, `attr.n<1e9`, `a!`, `attr.x!~""`, `duration<=1h2m`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		first, err := Parse(expression)
		if err != nil {
			return
		}
		again, err := Parse(first.String())
		if err != nil {
			t.Fatalf("%q, written out as %q: %v", expression, first.String(), err)
		}
		if again.String() != first.String() || again.late != first.late {
			t.Fatalf("%q: %q, then %q", expression, first.String(), again.String())
		}
		enter, exit := boundaries(t)
		if first.Keep(enter) != again.Keep(enter) || first.Keep(exit) != again.Keep(exit) {
			t.Fatalf("%q and %q keep different boundaries", expression, again.String())
		}
	})
}
