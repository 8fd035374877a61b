// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var main1 = Key{SessionID: "s1", Rank: 0, ThreadID: 1}

func mustEnter(t *testing.T, r *Recorder, k Key, name string) Token {
	t.Helper()
	tok, _, err := r.Enter(k, "thread", name, nil)
	if err != nil {
		t.Fatalf("Enter(%+v, %q): %v", k, name, err)
	}
	return tok
}

func mustExit(t *testing.T, r *Recorder, tok Token) Boundary {
	t.Helper()
	b, err := r.Exit(tok, tok.ThreadID())
	if err != nil {
		t.Fatalf("Exit(%s): %v", tok.ScopeID(), err)
	}
	return b
}

func TestEnterExit(t *testing.T) {
	r := New(Limits{})
	k := Key{SessionID: "s1", Rank: 3, ThreadID: 42}
	a, _, err := r.Enter(k, "main", " train\t", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, enter, err := r.Enter(k, "main", "step", []byte(`{"epoch":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if a.Name() != "train" || b.Name() != "step" || b.ScopeID() != "s1:2" || b.SessionID() != "s1" || b.Rank() != 3 || b.ThreadID() != 42 {
		t.Errorf("tokens: %q, %q %q %q %d %d", a.Name(), b.Name(), b.ScopeID(), b.SessionID(), b.Rank(), b.ThreadID())
	}
	exit, err := r.Exit(b, 42)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		b                    Boundary
		event, context, meta string
	}{
		{enter, "phase_enter", "Phase entered: train / step",
			`{"phase_scope":{"action":"enter","name":"step","path":["train","step"],"depth":2,"scope_id":"s1:2","parent_scope_id":"s1:1","thread_id":42,"thread_name":"main","sequence":2,"attributes":{"epoch":1}}}`},
		{exit, "phase_exit", "Phase exited: train / step",
			`{"phase_scope":{"action":"exit","name":"step","path":["train","step"],"depth":2,"scope_id":"s1:2","parent_scope_id":"s1:1","thread_id":42,"thread_name":"main","sequence":3,"attributes":{"epoch":1}}}`},
		{mustExit(t, r, a), "phase_exit", "Phase exited: train",
			`{"phase_scope":{"action":"exit","name":"train","path":["train"],"depth":1,"scope_id":"s1:1","parent_scope_id":null,"thread_id":42,"thread_name":"main","sequence":4}}`},
	} {
		meta, err := json.Marshal(c.b.Metadata())
		if err != nil {
			t.Fatal(err)
		}
		got := []string{c.b.EventType(), c.b.Context(), string(meta)}
		if d := cmp.Diff([]string{c.event, c.context, c.meta}, got); d != "" {
			t.Errorf("boundary (-want +got):\n%s", d)
		}
	}
}

func TestEmptyNameChangesNothing(t *testing.T) {
	r := New(Limits{})
	outer := mustEnter(t, r, main1, "outer")
	for _, name := range []string{"", " ", "\t\n\v\f\r", "\x1c\x1d\x1e\x1f", "\u00a0\u2003\u0085"} {
		if _, _, err := r.Enter(main1, "", name, nil); !errors.Is(err, ErrEmptyName) {
			t.Errorf("Enter(%q): %v, want ErrEmptyName", name, err)
		}
	}
	if b := mustExit(t, r, outer); b.Sequence != 2 {
		t.Errorf("sequence %d after refused enters, want 2", b.Sequence)
	}
}
