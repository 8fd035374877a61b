// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"strings"
	"testing"
)

// The rows are those of the table in the design, in its order, and what lies
// between them.
func TestExitErrors(t *testing.T) {
	const exiting, other = 1, 2
	key := func(thread int, lane string) Key { return Key{SessionID: "s", Rank: 1, ThreadID: thread, Lane: lane} }
	type setup func(t *testing.T, r *Recorder) Token
	gone := func(t *testing.T, r *Recorder) Token {
		tok := mustEnter(t, r, key(exiting, ""), "gone")
		mustExit(t, r, tok)
		return tok
	}
	for _, c := range []struct {
		name    string
		prepare setup
		kind    Kind
		top     string // name of the innermost scope that the error must give
	}{
		{"empty, open on another thread", func(t *testing.T, r *Recorder) Token {
			return mustEnter(t, r, key(other, ""), "theirs")
		}, WrongThread, ""},
		{"empty, open on another thread, deep in its stack", func(t *testing.T, r *Recorder) Token {
			tok := mustEnter(t, r, key(other, ""), "theirs")
			mustEnter(t, r, key(other, ""), "inner")
			return tok
		}, WrongThread, ""},
		{"empty on the token's lane only, open on another thread", func(t *testing.T, r *Recorder) Token {
			mustEnter(t, r, key(exiting, "b"), "mine on another lane")
			return mustEnter(t, r, key(other, "a"), "theirs")
		}, WrongThread, ""},
		{"empty, nowhere", gone, NoActivePhase, ""},
		{"empty, nowhere, another thread busy", func(t *testing.T, r *Recorder) Token {
			mustEnter(t, r, key(other, ""), "theirs")
			return gone(t, r)
		}, NoActivePhase, ""},
		{"empty on the token's lane only, nowhere", func(t *testing.T, r *Recorder) Token {
			mustEnter(t, r, key(exiting, "b"), "mine on another lane")
			return gone(t, r)
		}, NoActivePhase, ""},
		{"top is another, deeper", func(t *testing.T, r *Recorder) Token {
			tok := mustEnter(t, r, key(exiting, ""), "outer")
			mustEnter(t, r, key(exiting, ""), "inner")
			return tok
		}, NotLIFO, "inner"},
		{"top is another, deeper by two", func(t *testing.T, r *Recorder) Token {
			tok := mustEnter(t, r, key(exiting, ""), "outer")
			mustEnter(t, r, key(exiting, ""), "middle")
			mustEnter(t, r, key(exiting, ""), "inner")
			return tok
		}, NotLIFO, "inner"},
		{"top is another, open on another thread", func(t *testing.T, r *Recorder) Token {
			mustEnter(t, r, key(exiting, ""), "mine")
			return mustEnter(t, r, key(other, ""), "theirs")
		}, WrongThread, "mine"},
		{"top is another, nowhere", func(t *testing.T, r *Recorder) Token {
			mustEnter(t, r, key(exiting, ""), "mine")
			return gone(t, r)
		}, UnknownScope, "mine"},
		{"top is another with the same name", func(t *testing.T, r *Recorder) Token {
			tok := gone(t, r)
			mustEnter(t, r, key(exiting, ""), "gone")
			return tok
		}, UnknownScope, "gone"},
	} {
		ways := map[string]func(r *Recorder, tok Token) error{
			"Exit":      func(r *Recorder, tok Token) error { _, err := r.Exit(tok, exiting); return err },
			"ExitPhase": func(r *Recorder, tok Token) error { _, err := r.ExitPhase("s", 1, tok.ScopeID(), exiting); return err },
			"Handle.Close": func(r *Recorder, tok Token) error {
				h := NewHandle(tok.ScopeID(), tok.Name(), tok.Path().Parts(), func(threadID int) (Boundary, error) {
					return r.Exit(tok, threadID)
				})
				_, err := h.Close(exiting)
				if h.Closed() {
					t.Error("a refused close has closed the handle")
				}
				return err
			},
			"Stack.Exit": func(r *Recorder, tok Token) error {
				s := r.Stack(key(exiting, ""))
				r.Acquire()
				defer r.Release()
				_, err := s.Exit(tok)
				return err
			},
		}
		for way, exit := range ways {
			t.Run(c.name+", "+way, func(t *testing.T) {
				r := New(Limits{})
				tok := c.prepare(t, r)
				before := r.Stats()
				err := exit(r, tok)
				checkRefused(t, r, tok, before, err, c.kind, c.top)
			})
		}
	}
}

func checkRefused(t *testing.T, r *Recorder, tok Token, before Stats, err error, kind Kind, top string) {
	t.Helper()
	var pe *ProtocolError
	if !errors.As(err, &pe) || pe.Kind != kind || !errors.Is(err, kind) {
		t.Fatalf("error %v, want kind %v", err, kind)
	}
	if pe.ThreadID != 1 || pe.Closing.ScopeID() != tok.ScopeID() {
		t.Errorf("error names thread %d and scope %q, want 1 and %q", pe.ThreadID, pe.Closing.ScopeID(), tok.ScopeID())
	}
	if pe.Closing.Open && (pe.Closing.Path != tok.Path() || pe.Closing.Slot != tok.Slot() || pe.Closing.ThreadID != tok.ThreadID() || pe.Closing.ThreadName != "thread") {
		t.Errorf("closing %+v does not describe the token", pe.Closing)
	}
	if top == "" && pe.Top.Known() || top != "" && (pe.Top.Path.Name() != top || !pe.Top.Open || pe.Top.ThreadID != 1) {
		t.Errorf("error names %v as innermost, want %q", pe.Top.String(), top)
	}
	if top != "" && kind != WrongThread && !strings.Contains(err.Error(), top) {
		t.Errorf("message %q does not name %q", err, top)
	}
	after := r.Stats()
	if after.Violations[kind] != before.Violations[kind]+1 {
		t.Errorf("the violation is not counted")
	}
	after.Violations = before.Violations
	before.Stacks, after.Stacks = 0, 0 // the way under test may have resolved one
	if before != after {
		t.Errorf("a refused exit changed %+v to %+v", before, after)
	}
}

func TestExitPhaseOfOtherSessionOrRankIsNowhere(t *testing.T) {
	for _, c := range []struct {
		name    string
		session string
		rank    int32
		scopeID string
	}{
		{"other rank", "s", 2, "s:1"},
		{"other session", "x", 1, "s:1"},
		{"other session in the scope id", "s", 1, "x:1"},
		{"no number", "s", 1, "s:"},
		{"leading zero", "s", 1, "s:01"},
		{"sign", "s", 1, "s:+1"},
		{"zero", "s", 1, "s:0"},
		{"too large", "s", 1, "s:18446744073709551616"},
		{"empty", "s", 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := New(Limits{})
			mustEnter(t, r, Key{SessionID: "s", Rank: 1, ThreadID: 1}, "a")
			if _, err := r.ExitPhase(c.session, c.rank, c.scopeID, 5); !errors.Is(err, NoActivePhase) {
				t.Errorf("on an empty stack: %v, want %v", err, NoActivePhase)
			}
			mustEnter(t, r, Key{SessionID: c.session, Rank: c.rank, ThreadID: 5}, "b")
			if _, err := r.ExitPhase(c.session, c.rank, c.scopeID, 5); !errors.Is(err, UnknownScope) {
				t.Errorf("below another scope: %v, want %v", err, UnknownScope)
			}
		})
	}
}

func TestExitPhaseFindsLanesAndColons(t *testing.T) {
	r := New(Limits{})
	k := Key{SessionID: "a:b:7", ThreadID: 1, Lane: "tx"}
	tok := mustEnter(t, r, k, "transaction")
	mustEnter(t, r, Key{SessionID: "a:b:7", ThreadID: 1}, "query")
	b, err := r.ExitPhase("a:b:7", 0, tok.ScopeID(), 1)
	if err != nil || b.Lane != "tx" || b.Path.Name() != "transaction" {
		t.Errorf("ExitPhase: %+v, %v", b, err)
	}
}

func TestZeroAndForeignTokens(t *testing.T) {
	r, other := New(Limits{}), New(Limits{})
	foreign := mustEnter(t, other, main1, "foreign")
	s := r.Stack(main1)
	for _, tok := range []Token{{}, foreign} {
		if _, err := r.Exit(tok, 1); !errors.Is(err, NoActivePhase) {
			t.Errorf("Exit(%q) on an empty recorder: %v", tok.ScopeID(), err)
		}
	}
	mine := mustEnter(t, r, main1, "mine")
	r.Acquire()
	for _, tok := range []Token{{}, foreign} {
		if _, err := s.Exit(tok); !errors.Is(err, UnknownScope) {
			t.Errorf("Stack.Exit(%q) over an open scope: %v", tok.ScopeID(), err)
		}
	}
	r.Release()
	mustExit(t, r, mine)
}

func TestErrorMessages(t *testing.T) {
	r := New(Limits{})
	outer := mustEnter(t, r, main1, "outer\x1b[31m")
	inner := mustEnter(t, r, main1, "inner")
	_, notLIFO := r.Exit(outer, 1)
	_, wrong := r.Exit(inner, 2)
	mustExit(t, r, inner)
	_, unknown := r.Exit(inner, 1)
	mustExit(t, r, outer)
	_, none := r.Exit(outer, 1)
	_, noID := r.ExitPhase("s", 0, strings.Repeat("\x00", 1000), 1)
	for _, c := range []struct {
		err  error
		want string
	}{
		{notLIFO, `exit phase "outer\x1b[31m" (scope s1:1) on thread 1: not the innermost phase of this thread, which is "outer\x1b[31m / inner" (scope s1:2): close that one first`},
		{wrong, `exit phase "outer\x1b[31m / inner" (scope s1:2) on thread 2: closed from a different thread than it was opened (thread 1): close a phase on the thread that opened it`},
		{unknown, `exit phase "outer\x1b[31m / inner" (scope s1:2) on thread 1: unknown scope, while "outer\x1b[31m" (scope s1:1) is innermost: close each phase once, with the token of its enter`},
		{none, `exit phase "outer\x1b[31m" (scope s1:1) on thread 1: no active phase on this thread: close each phase once, after its enter`},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", c.err, c.want)
		}
	}
	if msg := noID.Error(); len(msg) > 1200 || strings.ContainsRune(msg, 0) {
		t.Errorf("message is not fit to print: %q", msg)
	}
}
