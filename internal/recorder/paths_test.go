// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func mustChild(t *testing.T, ps *Paths, parent *Path, name string) *Path {
	t.Helper()
	p, _, err := ps.Child(parent, name)
	if err != nil {
		t.Fatalf("Child(%q): %v", name, err)
	}
	return p
}

func TestPaths(t *testing.T) {
	ps := NewPaths(Limits{MaxName: 8})
	train := mustChild(t, ps, nil, " train\x1c")
	step := mustChild(t, ps, train, "step")
	if train.Parent() != nil || train.Depth() != 1 || step.Parent() != train || step.String() != "train / step" {
		t.Errorf("%q below %v, %q below %v", train, train.Parent(), step, step.Parent())
	}
	if mustChild(t, ps, nil, "train") != train || mustChild(t, ps, train, "\u2003step") != step {
		t.Error("equal names give another path")
	}
	if mustChild(t, ps, nil, "step") == step || mustChild(t, ps, step, "step") == step {
		t.Error("equal last names below other parents give the same path")
	}
	if p, cut, err := ps.Child(nil, "123456789"); err != nil || p.Name() != "12345678" || cut != CutName {
		t.Errorf("long name: %q, cut %d, %v", p, cut, err)
	}
	before := ps.Len()
	for _, name := range []string{"", " ", "\x1f\u0085"} {
		if p, cut, err := ps.Child(train, name); !errors.Is(err, ErrEmptyName) || p != nil || cut != 0 {
			t.Errorf("Child(%q): %v, %d, %v", name, p, cut, err)
		}
	}
	if before != 5 || ps.Len() != before {
		t.Errorf("%d paths, %d after refused names; want 5", before, ps.Len())
	}
}

func TestPathsOverflow(t *testing.T) {
	ps := NewPaths(Limits{MaxChildren: 2})
	a, real := mustChild(t, ps, nil, "a"), mustChild(t, ps, nil, OtherName)
	over, cut, err := ps.Child(nil, "c")
	if err != nil || !over.Overflow() || over == real || over.Name() != OtherName || cut != CutPath {
		t.Fatalf("beyond the limit: %q, overflow %v, cut %d, %v", over, over.Overflow(), cut, err)
	}
	if mustChild(t, ps, over, "x") != over || ps.Other(over) != over || ps.Other(nil) != over {
		t.Error("an overflow node has an inside")
	}
	if in := ps.Other(a); in.Parent() != a || !in.Overflow() || in.String() != "a / (other)" || ps.Other(a) != in || ps.Len() != 4 {
		t.Errorf("overflow node of %q: %q, overflow %v, %d paths", a, in, in.Overflow(), ps.Len())
	}
}

// Paths alone give what a recorder gives for the same names in the same order:
// the same ids, limits and all.
func TestPathsAgreeWithRecorder(t *testing.T) {
	for _, limits := range []Limits{{}, tight, {MaxPaths: 30, MaxChildren: 3}} {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		limits.MaxDepth = 100
		limits.MaxScopes = 100
		r, ps := New(limits), NewPaths(limits)
		s := r.Stack(main1)
		r.Acquire()
		var open []*Path
		for range 20_000 {
			if top, ok := s.Top(); ok && (len(open) > 4 || random.IntN(2) == 0) {
				if _, err := s.Exit(top); err != nil {
					t.Fatal(err)
				}
				open = open[:len(open)-1]
				continue
			}
			name := worldNames[random.IntN(len(worldNames))]
			if random.IntN(4) == 0 {
				name = fmt.Sprint("n", random.IntN(40))
			}
			var parent *Path
			if len(open) > 0 {
				parent = open[len(open)-1]
			}
			_, b, err := s.Enter("", []byte(name), nil)
			p, cut, alone := ps.Child(parent, name)
			if !errors.Is(alone, err) || (err == nil) != (alone == nil) {
				t.Fatalf("seed %d: %q: recorder %v, paths %v", seed, name, err, alone)
			}
			if err != nil {
				continue
			}
			if !p.Equal(b.Path) || p.ID() != b.Path.ID() || cut != b.Cut {
				t.Fatalf("seed %d: %q: recorder %q %d cut %d, paths %q %d cut %d", seed, name, b.Path, b.Path.ID(), b.Cut, p, p.ID(), cut)
			}
			open = append(open, p)
		}
		r.Release()
		if n := r.Stats().Paths; n != ps.Len() {
			t.Errorf("%d paths, the recorder has %d", ps.Len(), n)
		}
	}
}

func TestKnownPathsDoNotAllocate(t *testing.T) {
	ps := NewPaths(Limits{})
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("phase %d", i))
	}
	round := func() {
		train := mustChild(t, ps, nil, "train")
		for _, name := range names {
			mustChild(t, ps, train, name)
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations a round, want 0", n)
	}
}

// For the race detector: paths are read everywhere while others are made.
func TestPathsAreReadWhileOthersAreMade(t *testing.T) {
	ps := NewPaths(Limits{})
	made := make(chan *Path, 64)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for p := range made {
				if p.Depth() != 2 || p.Parent().Name() != "train" || p.String() != "train / "+p.Name() || p.ID() < 1 || p.Overflow() {
					t.Errorf("path %q", p)
				}
			}
		})
	}
	train := mustChild(t, ps, nil, "train")
	for i := range 1000 {
		made <- mustChild(t, ps, train, fmt.Sprint("phase", i%300))
	}
	close(made)
	wg.Wait()
}
