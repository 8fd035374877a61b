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
	if _, err := outer.Close(); !errors.Is(err, NotLIFO) || outer.Closed() {
		t.Errorf("closing the outer first: %v, closed %v; want %v and open", err, outer.Closed(), NotLIFO)
	}
	b, err := inner.Close()
	if err != nil || !inner.Closed() || b.Action != Exit || b.Sequence != 3 || string(b.Attributes) != `{"n":1}` {
		t.Errorf("close: %+v, %v", b, err)
	}
	if b, err := inner.Close(); err != nil || b.Action != 0 {
		t.Errorf("second close: %+v, %v; want nothing", b, err)
	}
	if b, err := outer.Close(); err != nil || b.Sequence != 4 || !outer.Closed() {
		t.Errorf("close after a failed one: %+v, %v", b, err)
	}
	if _, err := r.Open(main1, "main", " ", nil); !errors.Is(err, ErrEmptyName) {
		t.Errorf("Open with an empty name: %v", err)
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
			if _, err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := r.Stats(); s.Sequence != 2 || s.OpenScopes != 0 {
		t.Errorf("stats %+v, want one enter and one exit", s)
	}
}
