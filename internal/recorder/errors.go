// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Why an enter is refused. A refused enter changes nothing but Stats.
var (
	ErrEmptyName     = errors.New("enter phase: the name is empty: give the phase a name")
	ErrTooDeep       = errors.New("enter phase: too many phases open on this thread: look for an exit that is never reached, or raise the depth limit")
	ErrTooManyScopes = errors.New("enter phase: too many phases open on all threads: look for an exit that is never reached, or raise the scope limit")
	ErrReleased      = errors.New("enter phase: the stack was released: resolve it again")
)

// Kind is why an exit is refused. It is an error itself, so that
// errors.Is(err, recorder.NotLIFO) works on any error that the recorder returns.
type Kind uint8

// The kinds of protocol errors.
const (
	// WrongThread: the scope is open, on another thread than the one that exits.
	WrongThread Kind = iota + 1
	// NoActivePhase: nothing is open on the exiting thread's stack, and the scope
	// is open nowhere.
	NoActivePhase
	// NotLIFO: the scope is open on this stack, below others.
	NotLIFO
	// UnknownScope: the scope is open nowhere, while others are on this stack.
	UnknownScope

	kinds
)

// String names the kind in words that stay the same from release to release.
func (k Kind) String() string {
	switch k {
	case WrongThread:
		return "wrong_thread"
	case NoActivePhase:
		return "no_active_phase"
	case NotLIFO:
		return "not_lifo"
	case UnknownScope:
		return "unknown_scope"
	}
	return "unknown"
}

// Error is the kind as a sentence.
func (k Kind) Error() string {
	switch k {
	case WrongThread:
		return "closed from a different thread than it was opened"
	case NoActivePhase:
		return "no active phase on this thread"
	case NotLIFO:
		return "not the innermost phase of this thread"
	case UnknownScope:
		return "unknown scope"
	}
	return "protocol error"
}

// ScopeRef names a scope in an error.
type ScopeRef struct {
	Open       bool // the scope is open, and Slot, ThreadName and Parent are its own
	Slot       uint32
	Scope      uint64 // 0 if not known
	Parent     uint64
	Path       *Path // nil if not known
	SessionID  string
	Rank       int32
	ThreadID   int // the thread that opened it
	ThreadName string
	Lane       string

	id string // as asked for, when it is not one of our scopes
}

// ForeignScope refers to a scope by an id that no recorder has given out, as
// ExitPhase may be asked for.
func ForeignScope(id string) ScopeRef { return ScopeRef{id: id} }

// Known reports whether the reference names any scope: by its id, or where
// scopes are only counted by its path.
func (s *ScopeRef) Known() bool { return s.Scope != 0 || s.id != "" || s.Path != nil }

// ScopeID is the scope id, "" if there is none.
func (s *ScopeRef) ScopeID() string {
	if s.id != "" || s.Scope == 0 {
		return s.id
	}
	return ScopeID(s.SessionID, s.Scope)
}

// String is the quoted path and the scope id, cut at a readable length.
func (s *ScopeRef) String() string {
	switch {
	case s.Path != nil && s.ScopeID() == "":
		return fmt.Sprintf("%q", clip(s.Path.String()))
	case s.Path != nil:
		return fmt.Sprintf("%q (scope %s)", clip(s.Path.String()), printable(s.ScopeID()))
	case s.Known():
		return "scope " + printable(s.ScopeID())
	}
	return "an unknown phase"
}

// ProtocolError is an exit that breaks strict nesting. The recorder has changed
// nothing because of it.
type ProtocolError struct {
	Kind     Kind
	ThreadID int      // the thread that exits
	Closing  ScopeRef // the scope it asked to close
	Top      ScopeRef // the innermost open scope of the stack, if there is one
}

// Unwrap returns the kind.
func (e *ProtocolError) Unwrap() error { return e.Kind }

// Error names both scopes and ends with what to do in the traced program.
func (e *ProtocolError) Error() string {
	what := fmt.Sprintf("exit phase %s on thread %d: %s", e.Closing.String(), e.ThreadID, e.Kind.Error())
	switch e.Kind {
	case WrongThread:
		return fmt.Sprintf("%s (thread %d): close a phase on the thread that opened it", what, e.Closing.ThreadID)
	case NotLIFO:
		return fmt.Sprintf("%s, which is %s: close that one first", what, e.Top.String())
	case UnknownScope:
		return fmt.Sprintf("%s, while %s is innermost: close each phase once, with the token of its enter", what, e.Top.String())
	}
	return what + ": close each phase once, after its enter"
}

const clipAt = 200

func clip(s string) string {
	if len(s) <= clipAt {
		return s
	}
	n := clipAt
	for n > clipAt-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// printable makes a foreign string safe to print, and quotes only what needs it.
func printable(s string) string {
	s = clip(s)
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` {
		return q
	}
	return s
}
