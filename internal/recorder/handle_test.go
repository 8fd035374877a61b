// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHandle(t *testing.T) {
	r := New(Limits{})
	outer, err := r.Open(main1, "main", "train", nil)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := r.Open(main1, "main", "step", []byte(`{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if inner.ScopeID() != "s1:2" || inner.Name() != "step" || inner.PhasePath() != "train / step" || inner.Closed() {
		t.Errorf("handle %q %q %q %v", inner.ScopeID(), inner.Name(), inner.PhasePath(), inner.Closed())
	}
	if d := cmp.Diff([]string{"train", "step"}, inner.Path()); d != "" {
		t.Error(d)
	}
	if _, err := outer.Close(1); !errors.Is(err, NotLIFO) || outer.Closed() {
		t.Errorf("closing the outer first: %v, closed %v; want %v and open", err, outer.Closed(), NotLIFO)
	}
	b, err := inner.Close(1)
	if err != nil || !inner.Closed() || b.Action != Exit || b.Sequence != 3 || string(b.Attributes) != `{"n":1}` {
		t.Errorf("close: %+v, %v", b, err)
	}
	if b, err := inner.Close(1); err != nil || b.Action != 0 {
		t.Errorf("second close: %+v, %v; want nothing", b, err)
	}
	if b, err := outer.Close(1); err != nil || b.Sequence != 4 || !outer.Closed() {
		t.Errorf("close after a failed one: %+v, %v", b, err)
	}
	if _, err := r.Open(main1, "main", " ", nil); !errors.Is(err, ErrEmptyName) {
		t.Errorf("Open with an empty name: %v", err)
	}
}

// Who closes is judged as who exits: by the errors' table, whatever handle.
func TestHandleOfAnotherThread(t *testing.T) {
	open := func(r *Recorder, thread int, name string) *Handle {
		t.Helper()
		h, err := r.Open(Key{SessionID: "s1", ThreadID: thread}, "", name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	r := New(Limits{})
	outer, inner := open(r, 1, "train"), open(r, 1, "step")
	refused := func(h *Handle, thread int, want Kind) {
		t.Helper()
		before := r.Stats().Sequence
		b, err := h.Close(thread)
		var pe *ProtocolError
		if !errors.As(err, &pe) || pe.Kind != want || pe.ThreadID != thread || pe.Closing.ThreadID != 1 {
			t.Errorf("close of %s by thread %d: %v, want %v", h.PhasePath(), thread, err, want)
		}
		if h.Closed() || b.Action != 0 || r.Stats().Sequence != before {
			t.Errorf("a refused close of %s: closed %v, boundary %+v", h.PhasePath(), h.Closed(), b)
		}
	}
	refused(inner, 2, WrongThread) // nothing is open there
	refused(outer, 2, WrongThread)
	other := open(r, 2, "load")
	refused(inner, 2, WrongThread) // something else is
	refused(outer, 1, NotLIFO)
	for _, h := range []*Handle{inner, outer} {
		if _, err := h.Close(1); err != nil || !h.Closed() {
			t.Errorf("close of %s by its own thread, after refusals: %v", h.PhasePath(), err)
		}
		if b, err := h.Close(2); err != nil || b.Action != 0 {
			t.Errorf("second close of %s, by another thread: %+v, %v; want nothing", h.PhasePath(), b, err)
		}
	}
	if _, err := other.Close(2); err != nil {
		t.Error(err)
	}
	if s := r.Stats(); s.Sequence != 6 || s.Violations[WrongThread] != 3 || s.Violations[NotLIFO] != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestHandleClosesOnceAmongMany(t *testing.T) {
	r := New(Limits{})
	h, err := r.Open(main1, "main", "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := h.Close(1); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := r.Stats(); s.Sequence != 2 || s.OpenScopes != 0 {
		t.Errorf("stats %+v, want one enter and one exit", s)
	}
}
