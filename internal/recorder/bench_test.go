// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"fmt"
	"testing"
)

// hot is a warmed-up stack, three deep, with a few sibling phases.
func hot(tb testing.TB, attrs []byte) (*Recorder, *Stack, [][]byte) {
	tb.Helper()
	r := New(Limits{})
	s := r.Stack(Key{SessionID: "s1", ThreadID: 7})
	names := [][]byte{[]byte("query"), []byte("parse"), []byte("plan"), []byte("execute")}
	r.Acquire()
	defer r.Release()
	for range 3 {
		if _, _, err := s.Enter("worker", names[0], attrs); err != nil {
			tb.Fatal(err)
		}
	}
	cycle(tb, s, names, attrs)
	return r, s, names
}

func cycle(tb testing.TB, s *Stack, names [][]byte, attrs []byte) {
	for _, name := range names {
		t, _, err := s.Enter("worker", name, attrs)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := s.Exit(t); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name  string
		attrs []byte
	}{
		{"no attributes", nil},
		{"attributes", []byte(`{"epoch":1,"statement":"select 1 from t where a = b and c = d"}`)},
	} {
		t.Run("stack, "+c.name, func(t *testing.T) {
			r, s, names := hot(t, c.attrs)
			if n := testing.AllocsPerRun(1000, func() {
				r.Acquire()
				cycle(t, s, names, c.attrs)
				r.Release()
			}); n != 0 {
				t.Errorf("%v allocations a cycle, want 0", n)
			}
		})
	}
	t.Run("many siblings", func(t *testing.T) {
		r, s, _ := hot(t, nil)
		var names [][]byte
		for i := range 1000 {
			names = append(names, fmt.Appendf(nil, "phase %d", i))
		}
		r.Acquire()
		defer r.Release()
		cycle(t, s, names, nil)
		if n := testing.AllocsPerRun(10, func() { cycle(t, s, names, nil) }); n != 0 {
			t.Errorf("%v allocations a cycle, want 0", n)
		}
	})
	t.Run("recorder", func(t *testing.T) {
		r := New(Limits{})
		mustExit(t, r, mustEnter(t, r, main1, "a"))
		if n := testing.AllocsPerRun(1000, func() {
			tok, _, _ := r.Enter(main1, "thread", "a", nil)
			if _, err := r.Exit(tok, 1); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations an enter and exit, want 0", n)
		}
	})
	t.Run("attribute", func(t *testing.T) {
		r, _, names := hot(t, nil)
		other := r.Stack(Key{SessionID: "s1", ThreadID: 8})
		batch := r.Acquire()
		defer r.Release()
		if _, _, err := other.Enter("worker", names[1], nil); err != nil {
			t.Fatal(err)
		}
		buf := batch.Active(nil)
		for _, q := range []Question{{}, {HasRank: true, ThreadID: 7}, {Scope: 1}} {
			if n := testing.AllocsPerRun(1000, func() { buf = batch.Attribute(q, buf).Candidates[:0] }); n != 0 {
				t.Errorf("%+v: %v allocations, want 0", q, n)
			}
		}
	})
	t.Run("active", func(t *testing.T) {
		r, _, _ := hot(t, nil)
		buf := r.Active(nil)
		if n := testing.AllocsPerRun(1000, func() { buf = r.Active(buf[:0]) }); n != 0 {
			t.Errorf("%v allocations, want 0", n)
		}
	})
}

var sink Boundary

// The unit of these benchmarks is one boundary, an enter or an exit.
func benchStack(b *testing.B, attrs []byte) {
	r, s, names := hot(b, attrs)
	r.Acquire()
	defer r.Release()
	b.ReportAllocs()
	for i := 0; i < b.N; i += 2 {
		t, bd, _ := s.Enter("worker", names[i>>1&3], attrs)
		sink = bd
		bd, err := s.Exit(t)
		if err != nil {
			b.Fatal(err)
		}
		sink = bd
	}
}

func BenchmarkStack(b *testing.B) { benchStack(b, nil) }

func BenchmarkStackAttributes(b *testing.B) {
	benchStack(b, []byte(`{"epoch":1,"statement":"select 1"}`))
}

// Without the cost of the boundaries' copies to a global.
func BenchmarkStackSequenceOnly(b *testing.B) {
	r, s, names := hot(b, nil)
	r.Acquire()
	defer r.Release()
	b.ReportAllocs()
	var sum uint64
	for i := 0; i < b.N; i += 2 {
		t, bd, _ := s.Enter("worker", names[0], nil)
		sum += bd.Sequence
		bd, _ = s.Exit(t)
		sum += bd.Sequence
	}
	if sum == 0 && b.N > 1 {
		b.Fatal("no sequence")
	}
}

// Many threads, in turn: the cost of a cold stack.
func BenchmarkStacks1000(b *testing.B) {
	r := New(Limits{})
	var stacks []*Stack
	for i := range 1000 {
		stacks = append(stacks, r.Stack(Key{SessionID: "s1", ThreadID: i}))
	}
	name := []byte("step")
	r.Acquire()
	defer r.Release()
	b.ReportAllocs()
	for i := 0; i < b.N; i += 2 {
		s := stacks[i>>1%1000]
		t, bd, _ := s.Enter("worker", name, nil)
		sink = bd
		sink, _ = s.Exit(t)
	}
}

func BenchmarkRecorder(b *testing.B) {
	r := New(Limits{})
	b.ReportAllocs()
	for i := 0; i < b.N; i += 2 {
		t, bd, _ := r.Enter(main1, "worker", "step", nil)
		sink = bd
		sink, _ = r.Exit(t, 1)
	}
}
