// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// traceOverlap traces overlap.c with some pairs.
func traceOverlap(t *testing.T, rounds int, pairs ...string) (*tracing, *stream.Summary) {
	t.Helper()
	p := fixture.Start(t, fixture.Build(t, "overlap.c"), fmt.Sprint(rounds))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Pairs: mustPairs(t, pairs...)})
	p.WriteLine("go")
	p.Expect("done")
	p.WaitOK()
	sum := tr.wait()
	if sum.ViolationTotal+sum.Orphans+sum.Lost != 0 {
		t.Errorf("%d violations, %d orphans, %d lost; want none", sum.ViolationTotal, sum.Orphans, sum.Lost)
	}
	return tr, sum
}

// Phases that overlap on one thread are told, once and with the key that tells
// them apart, and no wrong duration of theirs is in the figures. Phases that
// nest in themselves are not taken for it, whatever their arguments: of sum, one
// duration is given up before its arguments show that they name no phases.
func TestOverlapping(t *testing.T) {
	const rounds = 20
	_, sum := traceOverlap(t, rounds, "enc:encode__start/encode__done", "sum:sum__start/sum__done",
		"rpc:call__rx/call__tx;name=call;attr.serial=arg2;exit.attr.serial=arg0")
	got := map[string][3]uint64{}
	for _, p := range sum.Paths {
		got[p.Path.String()] = [3]uint64{p.Count, p.Unknown, p.Timed()}
		if p.Timed() == 0 && p.Total != 0 {
			t.Errorf("%v: a total of %v of no duration", p.Path, p.Total)
		}
	}
	want := map[string][3]uint64{
		"encode":                {rounds, rounds, 0},
		"encode / encode":       {rounds, rounds, 0},
		"call":                  {rounds, rounds, 0},
		"call / call":           {rounds, rounds, 0},
		"call / call / call":    {rounds, rounds, 0},
		"sum":                   {rounds, 0, rounds},
		"sum / sum":             {rounds, 1, rounds - 1},
		"sum / sum / sum":       {rounds, 0, rounds},
		"sum / sum / sum / sum": {rounds, 0, rounds},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("count, of unknown and of known duration (-want +got):\n%s", diff)
	}
	wantNotes(t, sum,
		stream.Note{Count: 2 * rounds, What: "pair enc:encode__start/encode__done: its phases overlap on one thread, so those durations are not known: match them with key=arg0"},
		stream.Note{Count: 3 * rounds, What: "pair rpc:call__rx/call__tx: its phases overlap on one thread, so those durations are not known: match them with key=arg2/arg0"},
		stream.Note{Count: 1, What: "pair sum:sum__start/sum__done: exits had the arguments of another open phase than the innermost, so those durations are not known"})
}

func wantNotes(t *testing.T, sum *stream.Summary, want ...stream.Note) {
	t.Helper()
	if diff := cmp.Diff(want, sum.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// A key of two arguments, which the exit has in another order, and what exits tell.
func TestKeyOfTwoArguments(t *testing.T) {
	const rounds = 20
	tr, sum := traceOverlap(t, rounds,
		"enc:encode__start/encode__done;key=arg0;attr.id=arg0;exit.attr.id=arg0:hex",
		"rpc:call__rx/call__tx;name=call;key=arg0+arg2/arg1+arg0;attr.client=arg0:hex;attr.serial=arg2;exit.attr.serial=arg0;exit.attr.status=arg2")
	calls := 0
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		if b.Doubt != stream.DoubtNone || b.Synthetic != stream.ReasonNone || b.Action == recorder.Enter && b.ExitAttributes != nil {
			t.Fatalf("%v %v: doubt %q, synthetic %q, exit attributes %s", b.Action, b.Path, b.Doubt, b.Synthetic, b.ExitAttributes)
		}
		if b.Action == recorder.Enter {
			continue
		}
		key := b.Key.Values
		enter, exit := fmt.Sprintf(`{"id":%d}`, key[0]), fmt.Sprintf(`{"id":"0x%x"}`, key[0])
		if b.Path.String() == "call" {
			calls++
			enter = fmt.Sprintf(`{"client":"0x%x","serial":%d}`, key[0], key[1])
			exit = fmt.Sprintf(`{"serial":%d,"status":%d}`, key[1], -int64(key[1]%3))
		}
		if string(b.Attributes) != enter || string(b.ExitAttributes) != exit {
			t.Fatalf("key %v: %s, at the exit %s; want %s and %s", b.Key, b.Attributes, b.ExitAttributes, enter, exit)
		}
	}
	if calls != 3*rounds || len(sum.Notes) != 0 {
		t.Errorf("%d calls, notes %v; want %d and none", calls, sum.Notes, 3*rounds)
	}
}

// With one of the two arguments the key is not enough, which is told; the rest of
// it nobody can know.
func TestKeyOfOneArgumentIsTooFew(t *testing.T) {
	const rounds = 20
	p := fixture.Start(t, fixture.Build(t, "overlap.c"), fmt.Sprint(rounds))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, Config{Pairs: mustPairs(t, "rpc:call__rx/call__tx;name=call;key=arg0/arg1")})
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if len(sum.Notes) != 1 || !strings.Contains(sum.Notes[0].What, "add another argument to the key") || sum.Notes[0].Count != rounds {
		t.Errorf("notes %v; want one that counts %d and says what to do", sum.Notes, rounds)
	}
	for i := range tr.boundaries {
		if b := &tr.boundaries[i]; b.Action == recorder.Exit &&
			((b.Key.Values[0] == 0x5500) != (b.Doubt == stream.DoubtKeyReused) || b.Doubt != stream.DoubtNone && (b.HasCounters || b.Resident.ChangeKnown)) {
			t.Errorf("key %v: doubt %q", b.Key, b.Doubt)
		}
	}
}

// Which arguments are watched: those that enters and exits have under one number,
// or one name, and none where a pair needs no watching.
func TestWatchedArgs(t *testing.T) {
	args := func(text string) usdt.Site {
		out, err := usdt.ParseArgs(1, text, usdt.Symbols{})
		if err != nil {
			t.Fatal(err)
		}
		return usdt.Site{Args: out}
	}
	sites := []usdt.Site{args("8@%rax -4@$1 8@%rbx 8f@%xmm0 8@%rcx"), args("8@%rax -4@$1 8@%rdx 8@%rsi"), args("8@%rax -4@$2")}
	for spec, want := range map[string][]engine.WatchedArg{
		"p:a/b":                              {{Enter: 0, Exit: 0}, {Enter: 2, Exit: 2}},
		"p:a/b;attr.x=arg4;exit.attr.x=arg3": {{Enter: 4, Exit: 3}, {Enter: 0, Exit: 0}, {Enter: 2, Exit: 2}},
		"p:a/b;key=arg0":                     nil,
		"p:a/b;reentrant=false":              nil,
	} {
		ch := usdt.Choice{Pair: mustPairs(t, spec)[0], EnterSites: []int{0}, ExitSites: []int{1}}
		if diff := cmp.Diff(want, watchedArgs(&ch, sites)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", spec, diff)
		}
	}
	ch := usdt.Choice{Pair: mustPairs(t, "p:a/b")[0], EnterSites: []int{0, 2}, ExitSites: []int{1, 2}}
	if diff := cmp.Diff([]engine.WatchedArg{{}, {Enter: 1, Exit: 1}}, watchedArgs(&ch, sites)); diff != "" {
		t.Errorf("of several sites (-want +got):\n%s", diff)
	}
}

// A pair that was asked for and fits nothing is named at the end, with what is
// missing, beside those that were traced: the default choice, if it was to be added.
func TestPairThatFitsNothing(t *testing.T) {
	_, sum := traceOverlap(t, 1, "+sum:sum__start/sum__stop", "+rpc:call__rx/call__tx;key=arg0+arg2/arg1+arg0")
	wantNotes(t, sum,
		stream.Note{What: "pair enc:encode__start/encode__done: exits had the arguments of another open phase than the innermost, so those durations are not known; if its phases overlap, match them with key=arg0", Count: 2},
		stream.Note{What: "pair sum:sum__start/sum__done: exits had the arguments of another open phase than the innermost, so those durations are not known", Count: 1},
		stream.Note{What: "pair +sum:sum__start/sum__stop was asked for and not traced: no exit: no probe sum:sum__stop in these files"})
	var names []string
	for _, p := range sum.Paths {
		if p.Path.Depth() == 1 {
			names = append(names, p.Path.Name())
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"call-rx", "encode", "sum"}, names); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}
