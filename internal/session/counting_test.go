// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/engine"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// both is a session that records and one that counts, on the same process.
type both struct{ recorded, counted *tracing }

func attachBoth(t *testing.T, pids []int, o Config) both {
	t.Helper()
	recorded := attach(t, pids, o)
	o.Count = true
	return both{recorded, attach(t, pids, o)}
}

// exact is what must be the same, whoever counts.
type exact struct {
	Paths                                              map[string][2]uint64 // scopes, and those that phasetrace closed
	Boundaries, Synthetic, Received, Orphans, Violated uint64
	Defects                                            map[string]uint64
}

func exactly(sum *stream.Summary) exact {
	out := exact{
		Paths: make(map[string][2]uint64), Defects: make(map[string]uint64),
		Boundaries: sum.Boundaries, Synthetic: sum.Synthetic, Received: sum.Received,
		Orphans: sum.Orphans, Violated: sum.ViolationTotal,
	}
	for _, p := range sum.Paths {
		out.Paths[p.Path.String()] = [2]uint64{p.Count, p.Synthetic}
	}
	name := func(r recorder.ScopeRef) string {
		if r.Path == nil {
			return "?"
		}
		return r.Path.String()
	}
	for _, v := range sum.Violations {
		out.Defects[fmt.Sprintf("%v: %s in %s by %s", v.First.Err.Kind, name(v.First.Err.Closing), name(v.First.Err.Top), v.First.Marker.Probe)] = v.Count
	}
	return out
}

// wait ends both sessions and holds their summaries against each other.
func (b both) wait(t *testing.T) (recorded, counted *stream.Summary) {
	t.Helper()
	recorded, counted = b.recorded.wait(), b.counted.wait()
	if diff := cmp.Diff(exactly(recorded), exactly(counted)); diff != "" {
		t.Errorf("counting differs from recording (-recorded +counted):\n%s", diff)
	}
	if len(b.counted.boundaries) != 0 {
		t.Errorf("%d boundaries were recorded while counting", len(b.counted.boundaries))
	}
	for _, p := range counted.Paths {
		checkFigures(t, p)
	}
	var perProcess uint64
	for _, p := range counted.Processes {
		for _, s := range p.Paths {
			perProcess += s.Count
		}
	}
	if 2*perProcess != counted.Boundaries {
		t.Errorf("%d scopes in all processes, %d boundaries in all", perProcess, counted.Boundaries)
	}
	return recorded, counted
}

func checkFigures(t *testing.T, p stream.PathStats) {
	t.Helper()
	n := time.Duration(p.Count - p.Synthetic)
	if n == 0 {
		return
	}
	if p.Min <= 0 || p.Min > p.P50 || p.P50 > p.P99 || p.P99 > p.Max ||
		p.Total < n*p.Min || p.Total > n*p.Max || p.Self > p.Total {
		t.Errorf("%s: figures do not go together: %+v", p.Path, p)
	}
}

func statsOf(t *testing.T, sum *stream.Summary, path string) stream.PathStats {
	t.Helper()
	for _, p := range sum.Paths {
		if p.Path.String() == path {
			return p
		}
	}
	t.Fatalf("no path %q in %v", path, exactly(sum).Paths)
	return stream.PathStats{}
}

func note(sum *stream.Summary, what string) uint64 {
	for _, n := range sum.Notes {
		if strings.Contains(n.What, what) {
			return n.Count
		}
	}
	return 0
}

func TestCountedPhases(t *testing.T) {
	const threads, depth, iterations, pause = 4, 3, 50, time.Millisecond
	p := fixture.Start(t, fixture.Build(t, "phases.c"), "4", "3", "50", "1000")
	p.Expect("ready")
	b := attachBoth(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	logged := make(map[string]time.Duration) // by path, measured around the markers
	for _, s := range readSpans(t, p.ReadAll()) {
		logged[strings.ReplaceAll(s.path, "/", recorder.Separator)] += time.Duration(s.end - s.start)
	}
	p.WaitOK()
	recorded, counted := b.wait(t)
	for i, path := range []string{"level0", "level0 / level1", "level0 / level1 / level2"} {
		got := statsOf(t, counted, path)
		if got.Count != threads*iterations {
			t.Errorf("%s: %d scopes, want %d", path, got.Count, threads*iterations)
		}
		asleep := time.Duration(depth-i) * pause
		if got.Min < asleep || got.P50 < asleep {
			t.Errorf("%s: shortest %v, median %v; it slept %v each time", path, got.Min, got.P50, asleep)
		}
		if got.Total > logged[path] {
			t.Errorf("%s: %v in all, more than the %v that the program measured around it", path, got.Total, logged[path])
		}
		if got.Self < threads*iterations*pause || i < depth-1 && got.Self > got.Total-threads*iterations*asleep/2 {
			t.Errorf("%s: %v of %v its own; it slept %v itself", path, got.Self, got.Total, threads*iterations*pause)
		}
		was := statsOf(t, recorded, path)
		t.Logf("%s: recorded %v total %v self %v p50 %v p99, counted %v %v %v %v",
			path, was.Total, was.Self, was.P50, was.P99, got.Total, got.Self, got.P50, got.P99)
	}
}

// Threads that count on the same paths at once lose nothing.
func TestCountedThreads(t *testing.T) {
	const threads = 40 // more threads than can have cells of their own
	phases := uint64(10000)
	if testing.Short() {
		phases = 500
	}
	p := fixture.Start(t, fixture.Build(t, "spin.c"), strconv.Itoa(threads), strconv.FormatUint(phases, 10), "inline", "2")
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Count: true})
	p.WriteLine("go")
	p.CloseStdin()
	p.ReadAll()
	p.WaitOK()
	want := exact{
		Paths: map[string][2]uint64{
			"base": {threads, 0}, "base / base": {threads, 0}, "base / base / spin": {threads * phases, 0},
		},
		Defects:    map[string]uint64{},
		Boundaries: 2 * threads * (phases + 2), Received: 2 * threads * (phases + 2),
	}
	if diff := cmp.Diff(want, exactly(tr.wait())); diff != "" {
		t.Error(diff)
	}
}

func TestCountedDefects(t *testing.T) {
	for _, c := range []struct {
		name, source string
		args         []string
	}{
		{"misnested", "misnest.c", []string{"50", "3"}},
		{"threads that end inside", "thread_exit.c", []string{"20"}},
		{"exec inside", "exec.c", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := fixture.Start(t, fixture.Build(t, c.source), c.args...)
			p.Expect("ready")
			b := attachBoth(t, []int{p.Pid()}, Config{})
			p.WriteLine("go")
			p.ReadAll()
			p.WaitOK()
			b.wait(t)
			if len(b.counted.violations) != len(b.recorded.violations) {
				t.Errorf("%d violations told, %d when recorded", len(b.counted.violations), len(b.recorded.violations))
			}
			for i, v := range b.counted.violations {
				if got, want := v.Err.Error(), `"a"`; !strings.Contains(got, want) || strings.Contains(got, "scope )") {
					t.Errorf("violation %q does not name what it is about", got)
				}
				was := b.recorded.violations[i]
				if v.Thread.TID != was.Thread.TID || v.Thread.Process.PID != was.Thread.Process.PID || v.Repaired != was.Repaired {
					t.Errorf("violation %+v, recorded as %+v", v, was)
				}
			}
		})
	}
}

func TestCountedReject(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "misnest.c"), "5", "3")
	p.Expect("ready")
	b := attachBoth(t, []int{p.Pid()}, Config{Policy: engine.PolicyReject})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	b.wait(t)
}

func TestCountedMidPhase(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "midphase.c"), "3")
	p.ReadLine() // inside
	b := attachBoth(t, []int{p.Pid()}, Config{})
	leaveMidPhase(p)
	// The semaphore, and with it tokens, was there for the one session as for
	// the other.
	if _, sum := b.wait(t); sum.Orphans != 2 {
		t.Errorf("%d orphans, want 2", sum.Orphans)
	}
}

// Other providers' pairs: literal names, names from arguments, lanes, pairs
// that are not reentrant, two closers.
func TestCountedPairs(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "pairs.c"), "30")
	p.ReadLine() // thread
	p.Expect("ready")
	b := attachBoth(t, []int{p.Pid()}, Config{Pairs: mustPairs(t,
		"shop:order__start/order__done;name=arg1:str",
		"shop:request__begin/request__end;name=request",
		"shop:sale__start/sale__commit,sale__abort;name=sale;lane=sale",
		"shop:query__start/query__done;name=arg0:str;reentrant=false",
	)})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	_, sum := b.wait(t)
	if got := statsOf(t, sum, "sale").Count; got != 30 {
		t.Errorf("%d sales, want 30", got)
	}
}

func TestCountedRefusesKeys(t *testing.T) {
	_, err := runAll(t.Context(), []int{1}, Config{
		Count: true, Message: func(string) {}, Sink: &collector{},
		Pairs: mustPairs(t, "shop:parcel__start/parcel__done;name=parcel;key=arg0"),
	})
	if !errors.Is(err, ErrCountKeyed) {
		t.Errorf("error %v, want that keys cannot be counted", err)
	}
	keyed := usdt.PairSpec{Provider: "p", Enter: "a", Exits: []string{"b"}, Key: []usdt.KeyArg{{}}}
	if err := newCounting(&Config{}, nil).refuses(keyed); !errors.Is(err, ErrCountKeyed) {
		t.Errorf("a keyed pair of the default choice: %v, want that it is left out", err)
	}
}

// More paths than there is room for are counted together; nothing is lost.
func TestCountedManyNames(t *testing.T) {
	names := uint64(1_000_000)
	if testing.Short() {
		names = 50_000
	}
	p := fixture.Start(t, fixture.Build(t, "manynames.c"), strconv.FormatUint(names, 10))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Count: true})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if sum.Boundaries != 2*names || sum.Lost != 0 || sum.Synthetic != 0 {
		t.Errorf("%d boundaries, %d lost, %d synthetic; want %d and none", sum.Boundaries, sum.Lost, sum.Synthetic, 2*names)
	}
	var count uint64
	for _, p := range sum.Paths {
		count += p.Count
	}
	if count != names {
		t.Errorf("%d scopes on all paths, want %d", count, names)
	}
	other := statsOf(t, sum, recorder.OtherName).Count
	if kept := uint64(len(sum.Paths) - 1); other != names-kept || kept == 0 || kept > 4096 {
		t.Errorf("%d names kept, %d scopes of others; want them to make %d", kept, other, names)
	}
	if n := note(sum, "(other)"); n != other {
		t.Errorf("a note says %d of others, want %d", n, other)
	}
}

// Phases too deep are counted as such, and what is outside them is right.
func TestCountedTooDeep(t *testing.T) {
	const depth, phases = 64, 10
	p := fixture.Start(t, fixture.Build(t, "spin.c"), "1", strconv.Itoa(phases), "inline", strconv.Itoa(depth))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Count: true})
	p.WriteLine("go")
	p.CloseStdin()
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if sum.Boundaries != 2*depth || sum.Received != 2*(depth+phases) || sum.ViolationTotal != 0 || sum.Synthetic != 0 {
		t.Errorf("%d boundaries of %d, %d violations, %d synthetic; want %d of %d and none",
			sum.Boundaries, sum.Received, sum.ViolationTotal, sum.Synthetic, 2*depth, 2*(depth+phases))
	}
	if n := note(sum, "nested phases"); n != phases {
		t.Errorf("%d enters noted as too deep, want %d", n, phases)
	}
}

// Names null, empty, unreadable and long are shown as when recorded.
func TestCountedNames(t *testing.T) {
	p := fixture.Start(t, fixture.Build(t, "names.c"))
	p.Expect("ready")
	b := attachBoth(t, []int{p.Pid()}, Config{})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	recorded, counted := b.wait(t)
	for _, what := range []string{"null, empty or unreadable", "names cut"} {
		if was, got := note(recorded, what), note(counted, what); was != got {
			t.Errorf("%d noted as %s, %d when recorded", got, what, was)
		}
	}
}

// Failing statements leave phases open that the next query proves to be over.
func TestCountedPostgresErrors(t *testing.T) {
	const statements, every = 2000, 10
	client := startPostgres(t).Connect()
	b := attachBoth(t, []int{client.Backend}, Config{})
	client.Do(failing(statements, every) + "begin;\nselect 1;\nrollback;\n")
	client.Close()
	_, sum := b.wait(t)
	if q := statsOf(t, sum, "query"); q.Synthetic != statements/every {
		t.Errorf("%d queries abandoned, want %d", q.Synthetic, statements/every)
	}
}

// Every backend of a followed server has paths of its own.
func TestCountedPostgresFollow(t *testing.T) {
	const clients = 4
	server := startPostgres(t)
	tr := attach(t, []int{server.Pid()}, Config{Follow: true, Count: true})
	backends := make(map[int]uint64)
	for i := range clients {
		c := server.Connect() // its first query asks for the backend's pid
		for range i {
			c.Do("select 42;")
		}
		backends[c.Backend] = uint64(i + 1)
		c.Close()
	}
	sum := tr.stop()
	got := make(map[int]uint64)
	for _, p := range sum.Processes {
		for _, s := range p.Paths {
			if _, ok := backends[p.Process.PID]; ok && s.Path.String() == "query" {
				got[p.Process.PID] += s.Count
			}
		}
	}
	if diff := cmp.Diff(backends, got); diff != "" {
		t.Errorf("queries by backend (-want +got):\n%s", diff)
	}
}
