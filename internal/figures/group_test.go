// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

func mustBy(tb testing.TB, word string) *Grouping {
	tb.Helper()
	by, err := By(word)
	if err != nil {
		tb.Fatal(err)
	}
	return by
}

// ended returns the exit of a scope.
func ended(path *recorder.Path, rank int32, duration int64, attributes string) *stream.Boundary {
	return &stream.Boundary{
		Boundary: recorder.Boundary{Action: recorder.Exit, Path: path, Rank: rank, Attributes: []byte(attributes)},
		Duration: duration, Self: duration,
		Thread: &stream.Thread{TID: 70 + int(rank), Name: "worker", Process: &stream.Process{PID: 7, Comm: "app", Rank: rank}},
	}
}

func groupNames(p stream.PathStats) string {
	var out []string
	for _, g := range p.Groups {
		name := g.Name
		switch g.Kind {
		case stream.GroupNone:
			name = "<none>"
		case stream.GroupOther:
			name = "<other>"
		}
		out = append(out, fmt.Sprintf("%s %d×%d", name, g.Figures.Count, g.Figures.Total))
	}
	return strings.Join(out, ", ")
}

func TestGroups(t *testing.T) {
	path := pathOf(t, "a")
	for _, tt := range []struct{ word, want string }{
		{"rank", "2 1×30, 0 2×21"},
		{"process", "app/7 3×51"},
		{"thread", "worker/72 1×30, worker/70 2×21"},
		{"attr.db", "app 1×30, 17 1×20, <none> 1×1"},
		{"attr.none", "<none> 3×51"},
	} {
		f := NewBy(mustBy(t, tt.word))
		_ = f.Record(ended(path, 0, 20, `{"x":"\"db\":1","db":17}`))
		_ = f.Record(ended(path, 2, 30, `{"db":"a\u0070p","more":[1,{"db":2}]}`))
		_ = f.Record(ended(path, 0, 1, `{"db":null}`))
		if got := groupNames(f.Paths()[0]); got != tt.want {
			t.Errorf("by %s: %s, want %s", tt.word, got, tt.want)
		}
		merged := NewBy(mustBy(t, tt.word))
		_ = merged.Record(ended(path, 2, 30, `{"db":"app"}`))
		merged.Merge(f)
		if got := merged.Paths()[0]; got.Count != 4 || got.Groups[0].Figures.Count < 1 {
			t.Errorf("by %s, merged: %+v", tt.word, got)
		}
		var sum stream.Summary
		if f.Snapshot(&sum); sum.Grouped.By != tt.word || sum.Grouped.Other != 0 {
			t.Errorf("by %s: %+v", tt.word, sum.Grouped)
		}
	}
	if _, err := By("attr."); err == nil {
		t.Error("an attribute without a name is a grouping")
	}
}

// A statement's phases are those of the phase that has its text, and what they have
// inside; its literals are nowhere.
func TestGroupsOfStatements(t *testing.T) {
	paths := recorder.NewPaths(recorder.Limits{})
	child := func(parent *recorder.Path, name string) *recorder.Path {
		p, _, err := paths.Child(parent, name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	query, lone := child(nil, "query"), child(nil, "execute")
	inner := child(query, "execute")
	f := NewBy(mustBy(t, "sql"))
	number := uint64(0)
	scope := func(p *recorder.Path, parent uint64, attributes string, inside func(scope uint64)) {
		number++
		b := ended(p, 0, 10, attributes)
		b.Scope, b.Parent, b.Action = number, parent, recorder.Enter
		_ = f.Record(b)
		if inside != nil {
			inside(b.Scope)
		}
		b.Action = recorder.Exit
		_ = f.Record(b)
	}
	for _, sql := range []string{"select 'secret', 1", "SELECT 'x' , 22;", "select 3"} {
		scope(query, 0, `{"sql":"`+sql+`"}`, func(in uint64) { scope(inner, in, "", nil) })
	}
	scope(lone, 0, `{"sql":"select $1"}`, nil)
	scope(lone, 0, "", nil)
	for i, want := range []string{
		"select ?, ? 2×20, select ? 1×10",
		"select ? 1×10, <none> 1×10",
		"select ?, ? 2×20, select ? 1×10",
	} {
		if got := groupNames(f.Paths()[i]); got != want {
			t.Errorf("%v: %s, want %s", f.Paths()[i].Path, got, want)
		}
	}
	if n := len(f.groups.open); n != 0 {
		t.Errorf("%d scopes are remembered although none is open", n)
	}
}

// With more values than there is room for, the sums of the groups are those of the
// path, and what has no group of its own is counted.
func TestGroupsBounded(t *testing.T) {
	path := pathOf(t, "a")
	f := NewBy(mustBy(t, "attr.v"))
	const values = 1_000_000
	var attributes []byte
	b := ended(path, 0, 1000, "")
	for i := range values {
		attributes = fmt.Appendf(attributes[:0], `{"v":%d}`, i)
		b.Attributes = attributes
		_ = f.Record(b)
	}
	b.Attributes = fmt.Appendf(nil, `{"v":"%s"}`, strings.Repeat("x", 2*MaxGroupKey))
	_ = f.Record(b)
	var sum stream.Summary
	f.Snapshot(&sum)
	if g := sum.Grouped; g.Groups != MaxGroups || g.Other != values+1-MaxGroups || g.Cut != 1 {
		t.Errorf("%+v, want %d groups, the rest in the one for others, one name cut", g, MaxGroups)
	}
	var count uint64
	var total time.Duration
	for _, g := range sum.Paths[0].Groups {
		count, total = count+g.Figures.Count, total+g.Figures.Total
	}
	if p := sum.Paths[0]; count != p.Count || total != p.Total || p.Count != values+1 {
		t.Errorf("groups have %d scopes of %v, the path %d of %v", count, total, p.Count, p.Total)
	}
}

// The groups of all paths together have a bound too.
func TestGroupCellsBounded(t *testing.T) {
	paths := recorder.NewPaths(recorder.Limits{})
	f := NewBy(mustBy(t, "attr.v"))
	const phases, values = 40, 1000
	for i := range phases {
		path, _, err := paths.Child(nil, fmt.Sprint("p", i))
		if err != nil {
			t.Fatal(err)
		}
		for v := range values {
			_ = f.Record(ended(path, 0, 5, fmt.Sprintf(`{"v":%d}`, v)))
		}
	}
	var sum stream.Summary
	f.Snapshot(&sum)
	if g := sum.Grouped; g.Groups != values || g.Other != phases*values-maxCells {
		t.Errorf("%+v, want %d in groups for others", g, phases*values-maxCells)
	}
}

// Ranks are told apart without being asked, when there are several.
func TestRanks(t *testing.T) {
	path := pathOf(t, "a")
	f := New()
	_ = f.Record(ended(path, 3, 10, ""))
	if got := f.Paths()[0].Ranks; got != nil {
		t.Errorf("one rank: %+v", got)
	}
	_ = f.Record(ended(path, 0, 4, ""))
	_ = f.Record(ended(path, 3, 30, ""))
	unknown := ended(path, 1, 1000, "")
	unknown.Synthetic = stream.ReasonAbandoned
	_ = f.Record(unknown)
	f.AddCounted(path, &Counted{Entered: 2, Ended: 1, Total: 6, Min: 6, Max: 6}, &stream.Process{Rank: 1})
	other := New()
	other.Merge(f)
	for what, f := range map[string]*Figures{"added": f, "merged": other} {
		got := f.Paths()[0].Ranks
		if fmt.Sprint(got) != "[{0 1 4ns 4ns} {1 1 6ns 6ns} {3 2 40ns 30ns}]" {
			t.Errorf("%s: ranks %v", what, got)
		}
	}
}

func TestRecordAllocates(t *testing.T) {
	path := pathOf(t, "a", "b")
	for _, word := range []string{"", "rank", "process", "thread", "attr.db", "sql"} {
		f := New()
		if word != "" {
			f = NewBy(mustBy(t, word))
		}
		exits := []*stream.Boundary{ended(path, 0, 100, `{"db":"app","sql":"select 1"}`), ended(path, 1, 110, `{"db":"other","x":1}`), ended(path, 2, 120, "")}
		once := func() {
			for _, b := range exits {
				_ = f.Record(b)
			}
		}
		for range quantileWarmUp {
			once()
		}
		if n := testing.AllocsPerRun(1000, once); n != 0 {
			t.Errorf("by %q: %v allocations a record", word, n)
		}
	}
}

// quantileWarmUp is how many exits of each kind fill what is filled once.
const quantileWarmUp = 100

func BenchmarkRecord(b *testing.B) {
	path := pathOf(b, "a", "b")
	enter := &stream.Boundary{Boundary: recorder.Boundary{Action: recorder.Enter, Path: path}}
	exits := make([]*stream.Boundary, 64)
	for i := range exits {
		exits[i] = ended(path, int32(i%4), int64(1000+i*50), fmt.Sprintf(`{"query":"select","db":"app%d"}`, i%8))
	}
	for _, word := range []string{"none", "rank", "process", "thread", "attr.db"} {
		b.Run(word, func(b *testing.B) {
			f := New()
			if word != "none" {
				f = NewBy(mustBy(b, word))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = f.Record(enter)
				_ = f.Record(exits[i%len(exits)])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2, "ns/boundary")
		})
	}
}
