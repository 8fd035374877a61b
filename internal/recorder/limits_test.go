// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestMaxDepth(t *testing.T) {
	r := New(Limits{MaxDepth: 2})
	mustEnter(t, r, main1, "a")
	inner := mustEnter(t, r, main1, "b")
	if _, _, err := r.Enter(main1, "", "c", nil); !errors.Is(err, ErrTooDeep) {
		t.Errorf("third enter: %v", err)
	}
	if b := mustExit(t, r, inner); b.Sequence != 3 || r.Stats().TooDeep != 1 {
		t.Errorf("exit has sequence %d, stats %+v", b.Sequence, r.Stats())
	}
	mustEnter(t, r, main1, "c")
}

func TestMaxScopes(t *testing.T) {
	r := New(Limits{MaxScopes: 2})
	mustEnter(t, r, Key{ThreadID: 1}, "a")
	b := mustEnter(t, r, Key{ThreadID: 2}, "b")
	if _, _, err := r.Enter(Key{ThreadID: 3}, "", "c", nil); !errors.Is(err, ErrTooManyScopes) {
		t.Errorf("third enter: %v", err)
	}
	mustExit(t, r, b)
	if c := mustEnter(t, r, Key{ThreadID: 3}, "c"); c.Slot() != b.Slot() {
		t.Errorf("slot %d, want %d again", c.Slot(), b.Slot())
	}
	if s := r.Stats(); s.TooManyScopes != 1 || s.Slots != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestMaxPathsOverflow(t *testing.T) {
	r := New(Limits{MaxPaths: 2})
	a := mustEnter(t, r, main1, "a")
	mustExit(t, r, mustEnter(t, r, main1, "b"))
	_, c, err := r.Enter(main1, "", "c", nil)
	if err != nil || c.Context() != "Phase entered: a / (other)" || !c.Path.Overflow() || c.Cut != CutPath {
		t.Fatalf("enter beyond the limit: %q, %+v, %v", c.Context(), c, err)
	}
	in, d, err := r.Enter(main1, "", "d", nil)
	if err != nil || d.Path != c.Path || d.Parent != c.Scope {
		t.Fatalf("enter inside an overflow node: %+v, %v", d, err)
	}
	exit, err := r.Exit(in, 1)
	if err != nil || exit.Cut != CutPath {
		t.Errorf("exit: %+v, %v", exit, err)
	}
	if tok, _, err := r.Enter(Key{ThreadID: 9}, "", "new root", nil); err != nil || tok.Name() != OtherName || tok.Path() == c.Path {
		t.Errorf("outermost phase beyond the limit: %q, %v", tok.Name(), err)
	}
	if p := mustEnter(t, r, Key{ThreadID: 8}, "a").Path(); p != a.Path() {
		t.Errorf("a known path is not found any more")
	}
	if s := r.Stats(); s.PathsOverflowed != 3 || s.Paths != 4 {
		t.Errorf("stats %+v, want 3 overflows on 2 nodes", s)
	}
}

func TestRealPhaseMayBeCalledOther(t *testing.T) {
	r := New(Limits{MaxChildren: 1})
	named := mustEnter(t, r, Key{ThreadID: 1}, OtherName)
	over := mustEnter(t, r, Key{ThreadID: 2}, "too many")
	if named.Path() == over.Path() || named.Path().Overflow() || named.Path().Equal(over.Path()) {
		t.Errorf("a phase called %s is confused with the overflow node", OtherName)
	}
}

func TestPathIDsAreDense(t *testing.T) {
	r := New(Limits{MaxPaths: 50, MaxChildren: 7})
	seen := map[int]*Path{}
	for i := range 1000 {
		tok := mustEnter(t, r, Key{ThreadID: i % 13}, fmt.Sprint("n", i%31))
		for p := tok.Path(); p != nil; p = p.Parent() {
			if q := seen[p.ID()]; q != nil && q != p {
				t.Fatalf("id %d is given twice", p.ID())
			}
			seen[p.ID()] = p
		}
	}
	for id := range r.Stats().Paths {
		if seen[id] == nil {
			t.Errorf("id %d is missing", id)
		}
	}
	if n := r.Stats().Paths; n != len(seen) || n > 101 {
		t.Errorf("%d paths, %d seen, want at most 101", n, len(seen))
	}
}

func TestLongNames(t *testing.T) {
	r := New(Limits{MaxName: 8})
	for _, c := range []struct {
		in, want string
		cut      Cut
	}{
		{"12345678", "12345678", 0},
		{"  12345678  ", "12345678", 0},
		{"123456789", "12345678", CutName},
		{"1234567é", "1234567", CutName},
		{"123456é", "123456é", 0},
		{"12345   9", "12345", CutName},
		{"12345\u2003 9", "12345", CutName},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff", CutName},
		{"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", "\x80\x80\x80\x80\x80\x80\x80\x80", CutName},
	} {
		tok, b, err := r.Enter(main1, "", c.in, nil)
		if err != nil || tok.Name() != c.want || b.Cut != c.cut {
			t.Errorf("%q: %q, cut %d, %v; want %q, cut %d", c.in, tok.Name(), b.Cut, err, c.want, c.cut)
		}
	}
	if n := r.Stats().NamesCut; n != 6 {
		t.Errorf("%d names cut, want 6", n)
	}
}

func TestAttributesAreBounded(t *testing.T) {
	object := func(n int) []byte { return []byte(`{"k":"` + strings.Repeat("x", n-8) + `"}`) }
	r := New(Limits{MaxAttributes: 1000, MaxAttributeBytes: 4096})
	for _, c := range []struct {
		size int
		kept bool
	}{{1000, true}, {1001, false}, {1000, true}, {1000, true}, {1000, true}, {1000, false}, {10, false}} {
		_, b, err := r.Enter(main1, "", "a", object(c.size))
		if err != nil || (len(b.Attributes) == c.size) != c.kept || (b.Cut == CutAttributes) == c.kept {
			t.Errorf("%d bytes: kept %d, cut %d, %v; want kept %v", c.size, len(b.Attributes), b.Cut, err, c.kept)
		}
	}
	if s := r.Stats(); s.AttributesDropped != 3 || s.AttributeBytes != 4096 {
		t.Errorf("stats %+v", s)
	}
	s := r.Stack(main1)
	r.Acquire()
	for s.Depth() > 0 {
		top, _ := s.Top()
		if _, err := s.Exit(top); err != nil {
			t.Fatal(err)
		}
	}
	r.Release()
	// Room held by free buffers of another size is found.
	if _, b, err := r.Enter(main1, "", "a", object(10)); err != nil || len(b.Attributes) != 10 {
		t.Errorf("after all exits: %q, %v", b.Attributes, err)
	}
}

func TestBufferClasses(t *testing.T) {
	for n := 1; n <= maxAttributesCeiling; n++ {
		c := class(n)
		if size := smallestBuffer << (2 * c); size < n || c > 0 && size/4 >= n || c >= bufferClasses {
			t.Fatalf("class of %d is %d, of %d bytes", n, c, size)
		}
	}
}

func TestAttributesMetadata(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "{}": "", " {\n} ": "", "null": "", " ": "",
		`{"a":1}`: `{"a":1}`, ` {"a":{}} `: ` {"a":{}} `,
		`[1]`: `{"raw":"[1]"}`, `text`: `{"raw":"text"}`, `{"a":}`: `{"raw":"{\"a\":}"}`,
		"{\"a\":\"\xff\"}": `{"raw":"{\"a\":\"\ufffd\"}"}`, "{": `{"raw":"{"}`, `"{}"`: `{"raw":"\"{}\""}`,
	} {
		_, b, err := New(Limits{}).Enter(main1, "", "a", []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b.Metadata().PhaseScope.Attributes); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// Boundaries of the locking methods must stay as they are; those of stacks are
// borrowed.
func TestAttributesOwnership(t *testing.T) {
	r := New(Limits{})
	in := []byte(`{"n":1}`)
	tok, enter, _ := r.Enter(main1, "", "a", in)
	in[5] = '9'
	exit := mustExit(t, r, tok)
	if _, _, err := r.Enter(main1, "", "a", []byte(`{"n":2}`)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(enter.Attributes, exit.Attributes) || string(exit.Attributes) != `{"n":1}` {
		t.Errorf("attributes %s and %s have changed", enter.Attributes, exit.Attributes)
	}
}

func TestReleasedStack(t *testing.T) {
	r := New(Limits{})
	s := r.Stack(main1)
	r.Acquire()
	old, _, _ := s.Enter("", []byte("a"), nil)
	if s.Release() {
		t.Error("released with a scope open")
	}
	if _, err := s.Exit(old); err != nil {
		t.Error(err)
	}
	for range 2 { // a second time does no harm
		if !s.Release() {
			t.Error("not released when empty")
		}
	}
	if _, _, err := s.Enter("", []byte("a"), nil); !errors.Is(err, ErrReleased) {
		t.Errorf("enter on a released stack: %v", err)
	}
	r.Release()
	if n := r.Stats().Stacks; n != 0 {
		t.Errorf("%d stacks left", n)
	}
	// A thread that comes with the same id has a stack of its own.
	tok := mustEnter(t, r, main1, "b")
	if _, err := r.Exit(old, 1); !errors.Is(err, UnknownScope) {
		t.Errorf("token of the former thread: %v", err)
	}
	mustExit(t, r, tok)
}

func TestReset(t *testing.T) {
	r := New(Limits{})
	s := r.Stack(main1)
	old := mustEnter(t, r, main1, "a")
	mustEnter(t, r, Key{ThreadID: 2}, "b")
	r.Reset()
	if st := r.Stats(); st.OpenScopes != 0 || st.Sequence != 0 || st.Stacks != 1 {
		t.Errorf("stats %+v after Reset", st)
	}
	if _, err := r.Exit(old, 1); !errors.Is(err, NoActivePhase) {
		t.Errorf("exit of a dropped scope: %v", err)
	}
	tok := mustEnter(t, r, main1, "a") // the same number, slot and stack
	if tok.Scope() != 1 || tok.Slot() != old.Slot() || tok.Path() != old.Path() {
		t.Errorf("first scope after Reset: %+v", tok)
	}
	if _, err := r.Exit(old, 1); !errors.Is(err, UnknownScope) {
		t.Errorf("exit of a dropped scope whose number is used again: %v", err)
	}
	r.Acquire()
	if _, err := s.Exit(tok); err != nil {
		t.Errorf("a stack resolved before Reset: %v", err)
	}
	r.Release()
}

func TestIdleStacksAreForgotten(t *testing.T) {
	r := New(Limits{})
	held := r.Stack(Key{ThreadID: -1})
	open := mustEnter(t, r, Key{ThreadID: -2}, "open")
	for i := range 50 * maxIdle {
		mustExit(t, r, mustEnter(t, r, Key{ThreadID: i}, "a"))
	}
	if n := r.Stats().Stacks; n > maxIdle+2 {
		t.Errorf("%d stacks kept, want at most %d", n, maxIdle+2)
	}
	checkInvariants(t, r)
	mustExit(t, r, open)
	checkInvariants(t, r)
	r.Acquire()
	defer r.Release()
	if _, _, err := held.Enter("", []byte("a"), nil); err != nil {
		t.Errorf("a held stack was forgotten: %v", err)
	}
}

// Names, depth, scopes and attributes all without end: the memory stays below
// what the package promises.
func TestHostileInputMemory(t *testing.T) {
	before := liveHeap()
	r := New(Limits{})
	attrs := []byte(`{"k":"` + strings.Repeat("x", 4000) + `"}`)
	name := []byte(strings.Repeat("n", 200) + "0000000000")
	for i := range 1_000_000 {
		copy(name[200:], fmt.Sprintf("%010d", i))
		s := r.Stack(Key{SessionID: "s", ThreadID: i % 40})
		r.Acquire()
		tok, _, err := s.Enter("thread", name, attrs)
		if err == nil && i%3 == 0 {
			_, err = s.Exit(tok)
		}
		r.Release()
		if err != nil && !errors.Is(err, ErrTooDeep) && !errors.Is(err, ErrTooManyScopes) {
			t.Fatal(err)
		}
	}
	stats := r.Stats()
	t.Logf("%d bytes, %+v", liveHeap()-before, stats)
	if used := liveHeap() - before; used > 64<<20 {
		t.Errorf("%d bytes live, want at most 64 MiB", used)
	}
	if stats.TooManyScopes == 0 || stats.PathsOverflowed == 0 || stats.AttributesDropped == 0 {
		t.Errorf("limits not reached: %+v", stats)
	}
	runtime.KeepAlive(r)
}

func liveHeap() int64 {
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc)
}

// Every way in at once: for the race detector, and the sequence must have no
// gap and no repetition.
func TestConcurrentUse(t *testing.T) {
	const threads, rounds = 8, 500
	r := New(Limits{})
	var mu sync.Mutex
	seen := map[uint64]bool{}
	note := func(bs ...Boundary) {
		mu.Lock()
		defer mu.Unlock()
		for _, b := range bs {
			if b.Metadata().PhaseScope.Attributes == nil || seen[b.Sequence] {
				t.Errorf("boundary %+v", b)
			}
			seen[b.Sequence] = true
		}
	}
	attrs := []byte(`{"n":1}`)
	var wg sync.WaitGroup
	for thread := range threads {
		wg.Go(func() {
			k := Key{SessionID: "s", ThreadID: thread}
			for i := range rounds {
				h, err := r.Open(k, "t", fmt.Sprint("outer", i%20), attrs)
				if err != nil {
					t.Error(err)
					return
				}
				tok, b1, _ := r.Enter(k, "t", "inner", attrs)
				if _, err := r.Exit(tok, thread+1000); !errors.Is(err, WrongThread) {
					t.Errorf("exit on another thread: %v", err)
				}
				b2, err2 := r.Exit(tok, thread)
				s := r.Stack(k)
				batch := r.Acquire()
				_, b3, _ := s.Enter("t", []byte("batch"), attrs)
				top, _ := s.Top()
				b4, err4 := s.Exit(top)
				b3.Attributes, b4.Attributes = attrs, attrs // they are borrowed
				batch.Active(nil)
				r.Release()
				if _, err := h.Close(thread + 1000); !errors.Is(err, WrongThread) {
					t.Errorf("close on another thread: %v", err)
				}
				b5, err5 := h.Close(thread)
				if err := errors.Join(err2, err4, err5); err != nil {
					t.Error(err)
				}
				note(b1, b2, b3, b4, b5)
				r.Active(nil)
				r.Stats()
			}
		})
	}
	wg.Wait()
	if s := r.Stats(); s.Sequence != threads*rounds*6 || len(seen) != threads*rounds*5 || s.OpenScopes != 0 {
		t.Errorf("%d boundaries seen, stats %+v", len(seen), s)
	}
}
