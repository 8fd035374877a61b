// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// The long run is: go test ./internal/recorder -run AgainstModel -recorder.events=10000000
var events = flag.Int("recorder.events", 200_000, "events of each randomised test against the model")

// pairOf is a scope as both sides know it. It is kept after its exit, to be
// closed again.
type pairOf struct {
	tok   Token
	model *modelScope
	h     *Handle
	done  bool // the handle's view
}

// world drives a recorder and the model with the same choices and compares all
// that can be seen.
type world struct {
	t     testing.TB
	next  func() int // the next choice, ≥ 0
	r     *Recorder
	m     *model
	past  []pairOf
	held  map[Key]*Stack
	slots map[uint32]uint64 // open slot to scope
}

func newWorld(t testing.TB, l Limits, next func() int) *world {
	r := New(l)
	return &world{t: t, next: next, r: r, m: newModel(r.Limits()), held: map[Key]*Stack{}, slots: map[uint32]uint64{}}
}

// tight makes every limit bite within a few events.
var tight = Limits{MaxDepth: 5, MaxPaths: 14, MaxChildren: 4, MaxName: 6, MaxNameBytes: 40, MaxScopes: 9, MaxAttributes: 40}

var (
	worldNames = []string{"a", "b", "c", "train", " step ", "a / b", "(other)", "", " \t", "\u00a0", "décodé", "ab\xffcdé", "long    long", "x\x00y", "\u2003wide\u3000",
		"\x1cfs\x1f", "\x1e", "\x1d\u0085\u205f", "a\x1c\x1cbcdef", "\x1bx\x00"}
	worldAttrs = []string{"", "", "", `{"n":1}`, `{ }`, `{"text":"the quick brown fox jumps over the lazy dog"}`}
)

func pick[T any](w *world, from []T) T { return from[w.next()%len(from)] }

func (w *world) key() Key {
	return Key{
		SessionID: pick(w, []string{"s", "s", "s", "s:1"}),
		Rank:      int32(w.next()%8) / 7,
		ThreadID:  w.next() % 4,
		Lane:      pick(w, []string{"", "", "tx"}),
	}
}

func (w *world) step() {
	switch op := w.next() % 32; {
	case op < 12:
		w.enter()
	case op < 23:
		w.exitTop()
	case op < 25:
		w.exitAny()
	case op < 27:
		w.exitPhase()
	case op < 28:
		w.exitZero()
	case op < 30:
		w.closeHandle()
	case op < 31:
		w.release()
	case w.next()%64 == 0:
		w.reset()
	}
	if got := w.r.Stats().Sequence; got != w.m.sequence {
		w.t.Fatalf("sequence %d, model %d", got, w.m.sequence)
	}
}

// stack is the held stack of k, resolved again after a release.
func (w *world) stack(k Key) *Stack {
	if w.held[k] == nil {
		w.held[k] = w.r.Stack(k)
	}
	return w.held[k]
}

func (w *world) enter() {
	k, thread, attrs := w.key(), pick(w, []string{"thread", "", "main"}), pick(w, worldAttrs)
	name := pick(w, worldNames)
	if w.next()%64 == 0 {
		name = fmt.Sprint("rare", w.next(), w.next())
	}
	var p pairOf
	var b Boundary
	var err error
	way := w.next() % 4
	switch way {
	case 0:
		p.tok, b, err = w.r.Enter(k, thread, name, []byte(attrs))
	case 1:
		p.h, err = w.r.Open(k, thread, name, []byte(attrs))
	default:
		s := w.stack(k)
		w.r.Acquire()
		p.tok, b, err = s.Enter(thread, []byte(name), []byte(attrs))
		w.r.Release()
	}
	var want error
	p.model, want = w.m.enter(k, thread, name, attrs)
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		w.t.Fatalf("enter %+v %q: %v, model %v", k, name, err, want)
	}
	if err != nil {
		return
	}
	if way == 1 {
		p.tok = w.top(k)
		if p.h.ScopeID() != p.model.id() || !slices.Equal(p.h.Path(), p.model.path) {
			w.t.Fatalf("handle %q %q, model %+v", p.h.ScopeID(), p.h.Path(), p.model)
		}
	} else {
		w.checkBoundary(b, Enter, p.model)
	}
	w.opened(p)
}

func (w *world) opened(p pairOf) {
	if was, ok := w.slots[p.tok.Slot()]; ok {
		w.t.Fatalf("slot %d of open scope %d given out again", p.tok.Slot(), was)
	}
	w.slots[p.tok.Slot()] = p.tok.Scope()
	if len(w.past) < 64 {
		w.past = append(w.past, p)
	} else {
		w.past[w.next()%len(w.past)] = p
	}
}

func (w *world) top(k Key) Token {
	s := w.r.Stack(k)
	w.held[k] = s
	w.r.Acquire()
	defer w.r.Release()
	tok, _ := s.Top()
	return tok
}

func (w *world) checkBoundary(b Boundary, a Action, s *modelScope) {
	w.t.Helper()
	if b.Action != a || b.Sequence != w.m.sequence || b.Scope != s.number || b.Parent != s.parent ||
		b.SessionID != s.key.SessionID || b.Rank != s.key.Rank || b.ThreadID != s.key.ThreadID || b.Lane != s.key.Lane ||
		b.ThreadName != s.thread || string(b.Attributes) != s.attrs || b.ScopeID() != s.id() ||
		!slices.Equal(b.PathParts(), s.path) || b.Path.Overflow() != s.over {
		w.t.Fatalf("boundary %+v %q, model %+v at sequence %d", b, b.PathParts(), s, w.m.sequence)
	}
}

// settle compares the outcomes of one exit.
func (w *world) settle(b Boundary, err error, s *modelScope, want error) {
	w.t.Helper()
	if want == nil && err == nil {
		w.checkBoundary(b, Exit, s)
		delete(w.slots, b.Slot)
		return
	}
	var pe *ProtocolError
	if !errors.As(err, &pe) || error(pe.Kind) != want {
		w.t.Fatalf("exit of %+v: %v, model %v", s, err, want)
	}
}

func (w *world) exitTop() {
	k := w.key()
	s := w.stack(k)
	w.r.Acquire()
	tok, ok := s.Top()
	w.r.Release()
	stack := w.m.stacks[k]
	if ok != (len(stack) > 0) {
		w.t.Fatalf("stack %+v has a top: %v; model has %d scopes", k, ok, len(stack))
	}
	if !ok {
		return
	}
	w.exit(tok, stack[len(stack)-1], k.ThreadID)
}

// exitAny closes any scope of the past, open or not, on any thread.
func (w *world) exitAny() {
	if len(w.past) > 0 {
		p := pick(w, w.past)
		w.exit(p.tok, p.model, w.next()%4)
	}
}

// exit closes through the recorder, or a stack of whatever session and lane.
func (w *world) exit(tok Token, scope *modelScope, thread int) {
	w.t.Helper()
	k := scope.key
	k.ThreadID = thread
	var b Boundary
	var err error
	switch w.next() % 3 {
	case 0:
		b, err = w.r.Exit(tok, thread)
	case 1:
		any := w.key()
		any.ThreadID = thread
		b, err = w.exitThrough(any, tok)
	default:
		b, err = w.exitThrough(k, tok)
	}
	w.settle(b, err, scope, w.m.exit(scope, k))
}

func (w *world) exitThrough(k Key, tok Token) (Boundary, error) {
	s := w.stack(k)
	w.r.Acquire()
	defer w.r.Release()
	b, err := s.Exit(tok)
	b.Attributes = slices.Clone(b.Attributes)
	return b, err
}

func (w *world) exitPhase() {
	k := w.key()
	id := "s:1"
	if len(w.past) > 0 && w.next()%8 != 0 {
		p := pick(w, w.past)
		id = p.model.id()
		if w.next()%4 != 0 {
			k = p.model.key
		}
	}
	scope := w.m.find(k.SessionID, k.Rank, id)
	at := Key{SessionID: k.SessionID, Rank: k.Rank, ThreadID: k.ThreadID}
	if scope != nil {
		at.Lane = scope.key.Lane
	}
	b, err := w.r.ExitPhase(k.SessionID, k.Rank, id, k.ThreadID)
	w.settle(b, err, scope, w.m.exit(scope, at))
}

func (w *world) exitZero() {
	k := w.key()
	b, err := w.exitThrough(k, Token{})
	w.settle(b, err, nil, w.m.exit(nil, k))
}

func (w *world) closeHandle() {
	if len(w.past) == 0 {
		return
	}
	p := &w.past[w.next()%len(w.past)]
	if p.h == nil {
		return
	}
	if p.h.Closed() != p.done {
		w.t.Fatalf("handle closed %v, model %v", p.h.Closed(), p.done)
	}
	k := p.model.key
	if w.next()%4 == 0 {
		k.ThreadID = w.next() % 4
	}
	b, err := p.h.Close(k.ThreadID)
	if p.done {
		if err != nil || b.Action != 0 {
			w.t.Fatalf("second close: %+v, %v", b, err)
		}
		return
	}
	want := w.m.exit(p.model, k)
	w.settle(b, err, p.model, want)
	p.done = want == nil
}

func (w *world) release() {
	k := w.key()
	s := w.stack(k)
	w.r.Acquire()
	done := s.Release()
	w.r.Release()
	if done != (len(w.m.stacks[k]) == 0) {
		w.t.Fatalf("release of %+v: %v; model has %d scopes", k, done, len(w.m.stacks[k]))
	}
	if done {
		delete(w.held, k)
	}
}

func (w *world) reset() {
	w.r.Reset()
	w.m.reset()
	clear(w.slots)
}

// checkAll compares everything that is open.
func (w *world) checkAll() {
	w.t.Helper()
	stats := w.r.Stats()
	if stats.OpenScopes != w.m.count() || stats.OpenScopes != len(w.slots) || stats.Paths < len(w.m.paths)-1 {
		w.t.Fatalf("stats %+v, model has %d scopes and %d paths", stats, w.m.count(), len(w.m.paths)-1)
	}
	for k, scopes := range w.m.stacks {
		s := w.stack(k)
		w.r.Acquire()
		if s.Depth() != len(scopes) {
			w.t.Fatalf("depth of %+v: %d, model %d", k, s.Depth(), len(scopes))
		}
		for i, scope := range scopes {
			if tok := s.At(i); tok.ScopeID() != scope.id() || tok.Key() != k || !slices.Equal(tok.Path().Parts(), scope.path) {
				w.t.Fatalf("%+v at %d: %q, model %+v", k, i, tok.ScopeID(), scope)
			}
		}
		w.r.Release()
	}
	checkInvariants(w.t, w.r)
	want := w.m.active()
	got := w.r.Active(nil)
	if len(got) != len(want) {
		w.t.Fatalf("%d active threads, model %d", len(got), len(want))
	}
	for _, a := range got {
		thread := fmt.Sprintf("%q %d %d", a.SessionID, a.Rank, a.ThreadID)
		if line := fmt.Sprintf("%s %v", a.ScopeID(), a.Path.Parts()); line != want[thread] {
			w.t.Fatalf("active on %s: %s, model %s", thread, line, want[thread])
		}
	}
}

// checkInvariants looks inside: what the recorder counts along the way must be
// what is there.
func checkInvariants(t testing.TB, r *Recorder) {
	t.Helper()
	r.Acquire()
	defer r.Release()
	idle, open := 0, 0
	for k, s := range r.stacks {
		if k != s.key || s.released {
			t.Errorf("stack %+v is kept as %+v, released %v", s.key, k, s.released)
		}
		if !s.held && len(s.open) == 0 {
			idle++
		}
		open += len(s.open)
	}
	if idle != r.idle || open+len(r.free) != len(r.slots) {
		t.Fatalf("%d idle stacks counted, %d there; %d open and %d free slots of %d", r.idle, idle, open, len(r.free), len(r.slots))
	}
}

func TestAgainstModel(t *testing.T) {
	for name, limits := range map[string]Limits{"default limits": {}, "tight limits": tight} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			limits.MaxPaths = min(max(limits.MaxPaths, 14), 2000)
			if name == "default limits" {
				limits.MaxPaths = 2000 // the model keeps them all
			}
			w := newWorld(t, limits, func() int { return int(random.Uint32() >> 8) })
			for i := range *events {
				w.step()
				if i%256 == 0 {
					w.checkAll()
				}
			}
			w.checkAll()
			s := w.r.Stats()
			t.Logf("%+v", s)
			for k := WrongThread; k < kinds; k++ {
				if s.Violations[k] == 0 {
					t.Errorf("%v never happened", k)
				}
			}
			checkHeap(t, 64<<20)
		})
	}
}

// checkHeap fails when live memory, of all tests running, is above a bound in
// bytes.
func checkHeap(t *testing.T, bound uint64) {
	t.Helper()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	if ms.HeapAlloc > bound {
		t.Errorf("%d bytes of live heap, want at most %d", ms.HeapAlloc, bound)
	}
}

func FuzzAgainstModel(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"))
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{100, 300, 1000} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 4096)]
		limits := Limits{}
		if len(data) > 0 && data[0]&1 != 0 {
			limits = tight
		}
		w := newWorld(t, limits, func() int {
			if len(data) == 0 {
				return 0
			}
			c := data[0]
			data = data[1:]
			return int(c)
		})
		for i := 0; len(data) > 0; i++ {
			w.step()
			if i%16 == 0 {
				w.checkAll()
			}
		}
		w.checkAll()
	})
}
