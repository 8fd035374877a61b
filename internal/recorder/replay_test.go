// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// script plays "thread lane +name" and "thread lane -" lines, one time unit
// each from 1 on, and returns the boundaries; boundary i is at time i+1.
func script(t *testing.T, r *Recorder, lines ...string) []Boundary {
	t.Helper()
	var bs []Boundary
	for _, line := range lines {
		var thread int
		var lane, what string
		if _, err := fmt.Sscan(line, &thread, &lane, &what); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		k := Key{SessionID: "s", ThreadID: thread, Lane: lane}
		if what != "-" {
			_, b, err := r.Enter(k, "t", what[1:], nil)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			bs = append(bs, b)
			continue
		}
		s := r.Stack(k)
		r.Acquire()
		top, _ := s.Top()
		b, err := s.Exit(top)
		r.Release()
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		bs = append(bs, b)
	}
	return bs
}

func replay(t *testing.T, bs []Boundary) []Span {
	t.Helper()
	var spans []Span
	p := NewReplay(func(s Span) { spans = append(spans, s) })
	for i := range bs {
		if err := p.Add(&bs[i], int64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	return append(spans, p.Open()...)
}

func describe(s Span) string {
	end := fmt.Sprint(s.End)
	if s.Open() {
		end = "open"
	}
	return fmt.Sprintf("%d%s %s depth %d parent %d: %d to %s, %d to %d", s.ThreadID, s.Lane, s.Path, s.Depth, s.Parent, s.Start, end, s.Scope, s.Exit)
}

func TestReplay(t *testing.T) {
	bs := script(t, New(Limits{}), "1 a +x", "1 a +y", "2 a +x", "1 a -", "1 b +z", "1 a -", "2 a -", "1 a +w")
	var got []string
	for _, s := range replay(t, bs)[:3] {
		got = append(got, describe(s))
	}
	for _, s := range replay(t, bs)[3:] { // open ones, in any order of their stacks
		if !s.Open() || s.Path.Name() != "z" && s.Path.Name() != "w" {
			t.Errorf("unexpected %s", describe(s))
		}
	}
	want := []string{
		"1a x / y depth 2 parent 1: 2 to 4, 2 to 4",
		"1a x depth 1 parent 0: 1 to 6, 1 to 6",
		"2a x depth 1 parent 0: 3 to 7, 3 to 7",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReplayRefuses(t *testing.T) {
	bs := script(t, New(Limits{}), "1 a +x", "1 a +y", "1 a +z", "1 a -", "1 a -", "1 a -")
	for _, c := range []struct {
		name  string
		order []int // indexes into bs; the last is refused
		want  error
	}{
		{"orphan", []int{4}, ErrOrphanExit},
		{"orphan after a whole scope", []int{2, 3, 4}, ErrOrphanExit},
		{"exit missing", []int{0, 1, 2, 4}, ErrNotNested},
		{"enter missing", []int{0, 2}, ErrNotNested},
		{"twice", []int{0, 0}, ErrOrder},
		{"backwards", []int{1, 0}, ErrOrder},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewReplay(func(Span) {})
			for i, n := range c.order {
				err := p.Add(&bs[n], int64(i))
				if i < len(c.order)-1 && err != nil || i == len(c.order)-1 && !errors.Is(err, c.want) {
					t.Errorf("boundary %d: %v", n, err)
				}
			}
		})
	}
	p := NewReplay(func(Span) {})
	if err := errors.Join(p.Add(&bs[0], 5), p.Add(&bs[1], 5)); err != nil {
		t.Errorf("equal times: %v", err)
	}
	if err := p.Add(&bs[2], 4); !errors.Is(err, ErrOrder) {
		t.Errorf("time backwards: %v", err)
	}
}

func TestReplayFromTheMiddle(t *testing.T) {
	bs := script(t, New(Limits{}), "1 a +x", "1 a +y", "1 a +z", "1 a -", "1 a -", "1 a -")
	spans := replay(t, bs[1:5])
	if len(spans) != 2 || spans[0].Depth != 3 || spans[1].Depth != 2 {
		t.Errorf("spans %+v, want depths 3 and 2", spans)
	}
}

func summary(a Attribution) string {
	path := "-"
	if a.Path != nil {
		path = a.Path.String()
	}
	text := fmt.Sprintf("%s %s %d of %d", a.Certainty, path, a.Scope, len(a.Candidates))
	if a.Likely.Path != nil {
		text += fmt.Sprintf(", likely %s %d", a.Likely.Path, a.Likely.Scope)
	}
	return text
}

func TestAttribution(t *testing.T) {
	r := New(Limits{})
	bs := script(t, r,
		"1 a +x", // time 1, scope 1
		"2 a +x", // 2, scope 2
		"2 b +p", // 3, scope 3
		"2 a +y", // 4, scope 4
		"1 a +y", // 5, scope 5
		"2 b -",  // 6
		"1 a -",  // 7
		"1 a -",  // 8
		"2 a -",  // 9
		"2 a -",  // 10
	)
	tl := NewTimeline(replay(t, bs))
	for _, c := range []struct {
		at   int64
		q    Question
		want string
	}{
		{0, Question{}, "none - 0 of 0"},
		{1, Question{}, "unique x 1 of 1"},
		{2, Question{}, "unique x 0 of 2"},
		{2, Question{ThreadID: 2}, "thread-local x 2 of 1"},
		{3, Question{}, "ambiguous - 0 of 2, likely p 3"}, // equally deep: p is later
		{3, Question{ThreadID: 2}, "thread-local p 3 of 1"},
		{3, Question{Scope: 2}, "exact x 2 of 1"},
		{4, Question{}, "ambiguous - 0 of 2, likely x / y 4"},
		{4, Question{ThreadID: 2}, "thread-local x / y 4 of 1"},
		{4, Question{ThreadID: 3}, "none - 0 of 0"},
		{4, Question{Scope: 5}, "none - 0 of 0"},
		{5, Question{}, "unique x / y 0 of 2"},
		{5, Question{Scope: 1}, "exact x 1 of 1"},
		{5, Question{Scope: 1, SessionID: "other"}, "none - 0 of 0"},
		{5, Question{SessionID: "other"}, "none - 0 of 0"},
		{5, Question{SessionID: "s"}, "unique x / y 0 of 2"},
		{7, Question{}, "ambiguous - 0 of 2, likely x / y 4"},
		{8, Question{}, "unique x / y 4 of 1"}, // its end is not in it
		{8, Question{ThreadID: 1}, "none - 0 of 0"},
		{9, Question{}, "unique x 2 of 1"},
		{10, Question{}, "none - 0 of 0"},
		{99, Question{}, "none - 0 of 0"},
	} {
		if got := summary(tl.At(c.at, c.q, nil)); got != c.want {
			t.Errorf("at %d, %+v: %s, want %s", c.at, c.q, got, c.want)
		}
	}
}

// Two ranks of one session, on machines whose thread ids are the same: live, over
// time and among given phases, a rank is asked alone.
func TestAttributionOfRank(t *testing.T) {
	r := New(Limits{})
	var bs []Boundary
	for _, e := range []struct {
		rank   int32
		thread int
		name   string
	}{{0, 7, "train"}, {1, 7, "train"}, {1, 7, "step"}, {1, 8, "load"}, {0, 8, "train"}} {
		_, b, err := r.Enter(Key{SessionID: "s", Rank: e.rank, ThreadID: e.thread}, "", e.name, nil)
		if err != nil {
			t.Fatal(err)
		}
		bs = append(bs, b)
	}
	spans := replay(t, bs)
	tl := NewTimeline(spans)
	for _, c := range []struct {
		q    Question
		want string
	}{
		{Question{}, "ambiguous - 0 of 4, likely train 5"},
		{Question{Rank: 1}, "ambiguous - 0 of 4, likely train 5"}, // not said to be known
		{Question{HasRank: true}, "unique train 0 of 2"},
		{Question{HasRank: true, Rank: 1}, "ambiguous - 0 of 2, likely load 4"},
		{Question{HasRank: true, Rank: 2}, "none - 0 of 0"},
		{Question{ThreadID: 7}, "ambiguous - 0 of 2, likely train / step 3"},
		{Question{HasRank: true, Rank: 1, ThreadID: 7}, "thread-local train / step 3 of 1"},
		{Question{HasRank: true, ThreadID: 9}, "none - 0 of 0"},
		{Question{HasRank: true, Rank: 1, Scope: 2}, "exact train 2 of 1"},
		{Question{HasRank: true, Scope: 2}, "none - 0 of 0"}, // it is open in the other
		{Question{SessionID: "x", HasRank: true}, "none - 0 of 0"},
	} {
		var active []Active
		for i := range spans {
			active = append(active, place(&spans[i]))
		}
		for way, a := range map[string]Attribution{
			"live": r.Attribute(c.q, nil), "timeline": tl.At(int64(len(bs)), c.q, nil), "among": AttributeAmong(c.q, active),
		} {
			if got := summary(a); got != c.want {
				t.Errorf("%s, %+v: %s, want %s", way, c.q, got, c.want)
			}
		}
	}
}

// Whatever the order in which the phases are given, the guess is the same, and
// is one of the candidates.
func TestLikelyIsTheLastEntered(t *testing.T) {
	r := New(Limits{})
	bs := script(t, r, "1 a +x", "2 a +y", "2 a +z", "3 a +w", "3 a -", "4 a +v", "2 b +u")
	active := r.Active(nil)
	for range 50 {
		rand.Shuffle(len(active), func(i, j int) { active[i], active[j] = active[j], active[i] })
		a := AttributeAmong(Question{}, slices.Clone(active))
		// u on thread 2 came later than v, but z is that thread's phase: deeper.
		if a.Certainty != Ambiguous || a.Likely.Path.Name() != "v" || a.Path != nil || a.Scope != 0 || !slices.Contains(a.Candidates, a.Likely) {
			t.Fatalf("%s, after %d boundaries", summary(a), len(bs))
		}
	}
}

// The live form must say what a timeline of the same boundaries says.
func TestAttributionLive(t *testing.T) {
	r := New(Limits{})
	lines := []string{"1 a +x", "2 a +x", "2 b +p", "2 a +y", "1 a +y", "2 b -", "1 a -", "1 a -", "2 a -", "2 a -"}
	var bs []Boundary
	for _, line := range lines {
		bs = append(bs, script(t, r, line)...)
		tl := NewTimeline(replay(t, bs))
		for _, q := range []Question{{}, {ThreadID: 1}, {ThreadID: 2}, {Scope: 1}, {Scope: 4}, {SessionID: "s"}, {SessionID: "x"}, {Scope: 2, SessionID: "x"}, {HasRank: true}, {HasRank: true, Rank: 1}} {
			want, got := tl.At(int64(len(bs)), q, nil), r.Attribute(q, nil)
			if summary(want) != summary(got) {
				t.Errorf("after %q, %+v: live %s, timeline %s", line, q, summary(got), summary(want))
			}
		}
	}
}

func TestAttributeAmong(t *testing.T) {
	r := New(Limits{})
	bs := script(t, r, "1 a +x", "1 a +y", "2 a +x")
	for q, want := range map[Question]string{
		{}:                         "ambiguous - 0 of 2, likely x 3",
		{ThreadID: 1}:              "thread-local x / y 2 of 1",
		{Scope: 1}:                 "exact x 1 of 1",
		{Scope: 1, SessionID: "x"}: "none - 0 of 0",
		{Scope: 9}:                 "none - 0 of 0",
	} {
		var active []Active
		for _, s := range replay(t, bs) {
			active = append(active, place(&s))
		}
		if got := summary(AttributeAmong(q, active)); got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
	}
}

func TestTimelineOfSpansThatDoNotNest(t *testing.T) {
	r := New(Limits{})
	bs := script(t, r, "1 a +x", "1 a +y", "1 a -", "1 a -")
	spans := replay(t, bs)
	for i := range spans {
		spans[i].Start, spans[i].End = int64(10*spans[i].Scope), int64(10*spans[i].Scope+15)
	}
	tl := NewTimeline(spans) // x from 10 to 25, y from 20 to 35
	for at, want := range map[int64]string{9: "none - 0 of 0", 10: "unique x 1 of 1", 20: "unique x / y 2 of 1", 24: "unique x / y 2 of 1", 25: "none - 0 of 0"} {
		if got := summary(tl.At(at, Question{}, nil)); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}
