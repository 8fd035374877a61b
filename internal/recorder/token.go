// SPDX-License-Identifier: Apache-2.0

package recorder

// Token identifies a scope between its enter and its exit. It is opaque and
// comparable; its methods work after the exit too. The zero Token names no scope:
// an exit with it is judged as one of an unknown scope.
type Token struct {
	stack *Stack
	path  *Path
	scope uint64
	slot  uint32
	epoch uint32 // number of resets before the enter
}

// IsZero reports whether the token names no scope.
func (t Token) IsZero() bool { return t.stack == nil }

// Scope is the sequence number of the scope's enter, 0 for the zero Token.
func (t Token) Scope() uint64 { return t.scope }

// Slot is the dense index that the scope has while it is open.
func (t Token) Slot() uint32 { return t.slot }

// Path is the phase, nil for the zero Token.
func (t Token) Path() *Path { return t.path }

// Key is the stack on which the scope was opened.
func (t Token) Key() Key {
	if t.stack == nil {
		return Key{}
	}
	return t.stack.key
}

// ScopeID is "<session id>:<scope>", "" for the zero Token.
func (t Token) ScopeID() string {
	if t.stack == nil {
		return ""
	}
	return ScopeID(t.stack.key.SessionID, t.scope)
}

// SessionID is the session in which the scope was opened.
func (t Token) SessionID() string { return t.Key().SessionID }

// Rank is the rank in which the scope was opened.
func (t Token) Rank() int32 { return t.Key().Rank }

// ThreadID is the thread that opened the scope.
func (t Token) ThreadID() int { return t.Key().ThreadID }

// Lane is the lane on which the scope was opened.
func (t Token) Lane() string { return t.Key().Lane }

// Name is the phase's own name, "" for the zero Token.
func (t Token) Name() string {
	if t.path == nil {
		return ""
	}
	return t.path.name
}
