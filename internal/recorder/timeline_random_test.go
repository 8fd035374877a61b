// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveAt answers by looking at every span, for every thread.
func naiveAt(spans []Span, t int64, q Question) string {
	type thread struct {
		rank int32
		id   int
	}
	best := map[thread]Span{}
	for _, s := range spans {
		if s.Start > t || !s.Open() && s.End <= t || q.SessionID != "" && q.SessionID != s.SessionID || q.HasRank && q.Rank != s.Rank {
			continue
		}
		if q.Scope != 0 {
			if s.Scope == q.Scope {
				return fmt.Sprintf("exact %s %d of 1", s.Path, s.Scope)
			}
			continue
		}
		if q.ThreadID != 0 && q.ThreadID != s.ThreadID {
			continue
		}
		at := thread{s.Rank, s.ThreadID}
		b, ok := best[at]
		if !ok || s.Depth > b.Depth || s.Depth == b.Depth && s.Scope > b.Scope {
			best[at] = s
		}
	}
	paths := map[string]bool{}
	var last Span
	for _, s := range best {
		paths[s.Path.String()] = true
		if s.Scope > last.Scope {
			last = s
		}
	}
	switch {
	case len(best) == 0:
		return "none - 0 of 0"
	case len(paths) > 1:
		return fmt.Sprintf("ambiguous - 0 of %d, likely %s %d", len(best), last.Path, last.Scope)
	case len(best) > 1:
		return fmt.Sprintf("unique %s 0 of %d", last.Path, len(best))
	case q.ThreadID != 0:
		return fmt.Sprintf("thread-local %s %d of 1", last.Path, last.Scope)
	}
	return fmt.Sprintf("unique %s %d of 1", last.Path, last.Scope)
}

// randomRun records boundaries on a few threads and lanes of two ranks, with
// times that often repeat.
func randomRun(t *testing.T, random *rand.Rand, n int) (bs []Boundary, times []int64) {
	r := New(Limits{})
	now := int64(0)
	for range n {
		k := Key{SessionID: "s", Rank: int32(random.IntN(2)), ThreadID: 1 + random.IntN(3), Lane: []string{"", "tx"}[random.IntN(2)]}
		s := r.Stack(k)
		r.Acquire()
		top, ok := s.Top()
		var b Boundary
		var err error
		if ok && random.IntN(2) == 0 {
			b, err = s.Exit(top)
		} else {
			_, b, err = s.Enter("t", []byte{"ab"[random.IntN(2)]}, nil)
		}
		r.Release()
		if err != nil {
			t.Fatal(err)
		}
		now += int64(random.IntN(3))
		bs, times = append(bs, b), append(times, now)
	}
	return bs, times
}

func TestTimelineAgainstSearch(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		bs, times := randomRun(t, random, 60)
		var spans []Span
		p := NewReplay(func(s Span) { spans = append(spans, s) })
		for i := range bs {
			if err := p.Add(&bs[i], times[i]); err != nil {
				t.Fatal(err)
			}
		}
		spans = append(spans, p.Open()...)
		enters := slices.DeleteFunc(slices.Clone(bs), func(b Boundary) bool { return b.Action != Enter })
		if len(enters) != len(spans) {
			t.Fatalf("%d spans of %d enters", len(spans), len(enters))
		}
		random.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
		tl := NewTimeline(spans)
		for at := int64(-1); at <= times[len(times)-1]+1; at++ {
			for _, q := range []Question{
				{}, {ThreadID: 2}, {SessionID: "s", ThreadID: 3}, {Scope: uint64(1 + random.IntN(60))}, {SessionID: "x"},
				{HasRank: true}, {HasRank: true, Rank: 1, SessionID: "s"}, {HasRank: true, Rank: 2}, {HasRank: true, Rank: 1, ThreadID: 2},
				{HasRank: true, Rank: 1, Scope: uint64(1 + random.IntN(60))},
			} {
				if got, want := summary(tl.At(at, q, nil)), naiveAt(spans, at, q); got != want {
					t.Fatalf("seed %d, at %d, %+v: %s, want %s", seed, at, q, got, want)
				}
			}
		}
	}
}

// All that is left open at the end is what the recorder says is active.
func TestReplayAgreesWithRecorder(t *testing.T) {
	r := New(Limits{})
	lines := []string{"1 a +x", "1 a +y", "2 a +x", "1 b +z", "2 a -", "3 a +w"}
	bs := script(t, r, lines...)
	tl := NewTimeline(replay(t, bs))
	live, past := r.Active(nil), tl.At(int64(len(bs)), Question{}, nil).Candidates
	if !slices.Equal(live, past) {
		t.Errorf("recorder: %+v\nreplay: %+v", live, past)
	}
}
