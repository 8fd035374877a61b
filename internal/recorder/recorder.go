// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
)

// Key names one strict stack. ThreadID is the kernel's thread id; Lane is ""
// for the default lane.
type Key struct {
	SessionID string
	Rank      int32
	ThreadID  int
	Lane      string
}

// maxIdle is the number of empty stacks, made by Enter and not resolved by
// anybody, that are kept for reuse.
const maxIdle = 1024

// Recorder is the nesting state of any number of sessions. Its methods may be
// called from any goroutine, but not by the holder between Acquire and Release,
// who uses those of Batch and Stack.
type Recorder struct {
	limits Limits

	mu      sync.Mutex // guards everything below
	seq     uint64
	epoch   uint32 // number of resets
	stacks  map[Key]*Stack
	idle    int // stacks that are empty and not held
	slots   []slot
	free    []uint32 // slots not in use
	paths   Paths
	buffers buffers
	name    []byte // scratch for Enter
	counts  Stats  // its counters only
}

// slot is an open scope, or a free place for one.
type slot struct {
	scope      uint64 // 0: free
	parent     uint64
	path       *Path
	stack      *Stack
	attributes []byte
	threadName string
	cut        Cut
}

// New returns an empty recorder.
func New(l Limits) *Recorder {
	l = l.withDefaults()
	return &Recorder{
		limits:  l,
		stacks:  make(map[Key]*Stack),
		paths:   makePaths(l),
		buffers: buffers{budget: l.MaxAttributeBytes},
	}
}

// Limits returns the limits in force.
func (r *Recorder) Limits() Limits { return r.limits }

// Enter opens a scope on the stack of k. The name is trimmed of white space and
// must not be empty then (ErrEmptyName). A thread whose name is empty is called
// "thread-" and its id. attrs is a JSON object or nil; it is copied. Other
// errors are ErrTooDeep and ErrTooManyScopes.
func (r *Recorder) Enter(k Key, threadName, name string, attrs []byte) (Token, Boundary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.name = append(r.name[:0], name...)
	t, b, err := r.stack(k).Enter(threadName, r.name, attrs)
	if cap(r.name) > maxAttributesCeiling {
		r.name = nil
	}
	b.Attributes = bytes.Clone(b.Attributes)
	return t, b, err
}

// EnterPhase is Enter by explicit fields, on the default lane. The scope id of
// the boundary is what ExitPhase wants.
func (r *Recorder) EnterPhase(sessionID string, rank int32, threadID int, threadName, name string, metadata []byte) (Boundary, error) {
	_, b, err := r.Enter(Key{SessionID: sessionID, Rank: rank, ThreadID: threadID}, threadName, name, metadata)
	return b, err
}

// Exit closes the token's scope, on behalf of the given thread. It succeeds only
// when that scope is on top of that thread's stack, of the token's session, rank
// and lane; otherwise the error is a *ProtocolError and nothing has changed.
func (r *Recorder) Exit(t Token, threadID int) (Boundary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return owned(r.exit(t, threadID))
}

// ExitPhase is Exit by explicit fields. The scope is looked for on every lane of
// the session and rank; a scope that is open there nowhere is judged against the
// thread's default lane.
func (r *Recorder) ExitPhase(sessionID string, rank int32, scopeID string, threadID int) (Boundary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := Key{SessionID: sessionID, Rank: rank, ThreadID: threadID}
	if t, ok := r.byScopeID(k, scopeID); ok {
		return owned(r.exit(t, threadID))
	}
	return Boundary{}, r.refuse(r.stacks[k], threadID, ScopeRef{SessionID: sessionID, Rank: rank, id: scopeID})
}

func owned(b Boundary, err error) (Boundary, error) {
	b.Attributes = bytes.Clone(b.Attributes)
	return b, err
}

// byScopeID finds an open scope of k's session and rank.
func (r *Recorder) byScopeID(k Key, scopeID string) (Token, bool) {
	digits, ok := strings.CutPrefix(scopeID, k.SessionID+":")
	if !ok {
		return Token{}, false
	}
	scope, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || scope == 0 || strconv.FormatUint(scope, 10) != digits {
		return Token{}, false
	}
	if t, ok := r.stacks[k].Top(); ok && t.scope == scope {
		return t, true
	}
	for i := range r.slots {
		if sl := &r.slots[i]; sl.scope == scope {
			return r.token(uint32(i)), sl.stack.key.SessionID == k.SessionID && sl.stack.key.Rank == k.Rank
		}
	}
	return Token{}, false
}

// Reset drops all scopes and sets the sequence to 0, for a new session. Resolved
// stacks stay resolved and are empty. Older tokens then name no scope. Paths and
// their ids stay.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq = 0
	r.epoch++
	r.slots, r.free = nil, nil
	r.buffers = buffers{budget: r.limits.MaxAttributeBytes}
	for _, s := range r.stacks {
		s.open = s.open[:0]
	}
	r.sweep()
}

// Stats returns the present figures.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats()
}

func (r *Recorder) stats() Stats {
	s := r.counts
	s.Sequence = r.seq
	s.Stacks = len(r.stacks)
	s.OpenScopes = len(r.slots) - len(r.free)
	s.Slots = len(r.slots)
	s.Paths = r.paths.nodes
	s.NameBytes = r.paths.nameBytes
	s.AttributeBytes = r.buffers.held
	return s
}

// stack returns the stack of k, and makes it if there is none.
func (r *Recorder) stack(k Key) *Stack {
	s := r.stacks[k]
	if s == nil {
		r.becameIdle() // before s is added: it may forget the idle ones
		k.SessionID, k.Lane = strings.Clone(k.SessionID), strings.Clone(k.Lane)
		s = &Stack{r: r, key: k}
		r.stacks[k] = s
	}
	return s
}

// becameIdle counts one more empty stack that nobody holds, after forgetting all
// others when they are many and most.
func (r *Recorder) becameIdle() {
	if r.idle >= maxIdle && r.idle > len(r.stacks)/2 {
		r.sweep()
	}
	r.idle++
}

func (r *Recorder) sweep() {
	for k, s := range r.stacks {
		if !s.held && len(s.open) == 0 {
			s.released = true
			delete(r.stacks, k)
		}
	}
	r.idle = 0
}
