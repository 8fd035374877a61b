// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Action tells an enter from an exit.
type Action uint8

// The actions.
const (
	Enter Action = iota + 1
	Exit
)

// String is "enter" or "exit".
func (a Action) String() string {
	switch a {
	case Enter:
		return "enter"
	case Exit:
		return "exit"
	}
	return "unknown"
}

// Cut says what a limit has left out of a scope. It is a set of flags.
type Cut uint8

// The flags of Cut.
const (
	CutName       Cut = 1 << iota // the name is cut at Limits.MaxName
	CutPath                       // the scope counts under an overflow node
	CutAttributes                 // the attributes are left out
)

// Boundary is an enter or exit that the recorder has accepted.
type Boundary struct {
	Action   Action
	Cut      Cut
	Slot     uint32 // dense index of the scope while it is open, reused after its exit
	Rank     int32
	Sequence uint64 // of this boundary
	Scope    uint64 // sequence of the scope's enter
	Parent   uint64 // scope of the enclosing scope on this stack, 0 if there is none
	Path     *Path
	ThreadID int
	// SessionID and Lane are those of the stack.
	SessionID string
	Lane      string
	// ThreadName is the name at the enter, on the exit too.
	ThreadName string
	// Attributes is the JSON object given at the enter, or empty. From a method
	// of Stack it is borrowed: valid until the next Enter on any stack of the
	// recorder or the end of the batch, and read-only. From a method of Recorder
	// or Handle it is a copy.
	Attributes []byte
}

// EventType is "phase_enter" or "phase_exit".
func (b *Boundary) EventType() string {
	if b.Action == Exit {
		return "phase_exit"
	}
	return "phase_enter"
}

// Context is a sentence for people: "Phase entered: a / b".
func (b *Boundary) Context() string {
	if b.Action == Exit {
		return "Phase exited: " + b.Path.String()
	}
	return "Phase entered: " + b.Path.String()
}

// ScopeID is the scope's name in the outside world, "<session id>:<scope>".
func (b *Boundary) ScopeID() string { return ScopeID(b.SessionID, b.Scope) }

// ParentScopeID is the scope id of the enclosing scope, "" if there is none.
func (b *Boundary) ParentScopeID() string {
	if b.Parent == 0 {
		return ""
	}
	return ScopeID(b.SessionID, b.Parent)
}

// PathParts returns the names of the path in a new slice.
func (b *Boundary) PathParts() []string { return b.Path.Parts() }

// ScopeID builds a scope id.
func ScopeID(sessionID string, scope uint64) string {
	return string(AppendScopeID(make([]byte, 0, len(sessionID)+21), sessionID, scope))
}

// AppendScopeID appends a scope id to dst.
func AppendScopeID(dst []byte, sessionID string, scope uint64) []byte {
	dst = append(dst, sessionID...)
	dst = append(dst, ':')
	return strconv.AppendUint(dst, scope, 10)
}

// Metadata is a boundary's structured payload, ready for encoding/json.
type Metadata struct {
	PhaseScope PhaseScope `json:"phase_scope"`
}

// PhaseScope describes the scope that a boundary opens or closes.
type PhaseScope struct {
	Action        string          `json:"action"` // "enter" or "exit"
	Name          string          `json:"name"`
	Path          []string        `json:"path"`
	Depth         int             `json:"depth"` // length of Path
	ScopeID       string          `json:"scope_id"`
	ParentScopeID *string         `json:"parent_scope_id"` // null for an outermost scope
	ThreadID      int             `json:"thread_id"`
	ThreadName    string          `json:"thread_name"`
	Sequence      uint64          `json:"sequence"` // of this boundary
	Attributes    json.RawMessage `json:"attributes,omitempty"`
}

// Metadata builds the payload, which shares nothing with the boundary.
// Attributes that are no JSON object are kept as text under "raw".
func (b *Boundary) Metadata() Metadata {
	s := PhaseScope{
		Action:     b.Action.String(),
		Name:       b.Path.Name(),
		Path:       b.PathParts(),
		Depth:      b.Path.Depth(),
		ScopeID:    b.ScopeID(),
		ThreadID:   b.ThreadID,
		ThreadName: b.ThreadName,
		Sequence:   b.Sequence,
		Attributes: attributesJSON(b.Attributes),
	}
	if b.Parent != 0 {
		id := b.ParentScopeID()
		s.ParentScopeID = &id
	}
	return Metadata{PhaseScope: s}
}

func attributesJSON(attrs []byte) json.RawMessage {
	if noAttributes(attrs) {
		return nil
	}
	var object map[string]json.RawMessage
	if utf8.Valid(attrs) && json.Unmarshal(attrs, &object) == nil {
		return append(json.RawMessage(nil), attrs...)
	}
	raw, err := json.Marshal(map[string]string{"raw": string(attrs)})
	if err != nil { // a map of strings always marshals
		return nil
	}
	return raw
}
