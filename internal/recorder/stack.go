// SPDX-License-Identifier: Apache-2.0

package recorder

import "strconv"

// Stack is the open scopes of one Key, resolved once for many records. Its
// methods may be called only while holding the recorder's batch lock (Acquire).
// They do not allocate, except for what was never seen before (a new path, a
// greater depth, a longer attribute object) and for errors.
type Stack struct {
	r        *Recorder
	key      Key // never changes
	open     []uint32
	held     bool // resolved by a caller, who releases it
	released bool
	nameless string // what the thread is called when it has no name, once needed
}

// Batch is the recorder held for a batch of records by one goroutine.
type Batch struct{ r *Recorder }

// Acquire locks the recorder for a batch of records; Release unlocks it. In
// between, only methods of Stack and Batch may be called by the holder; a method
// of Recorder would wait forever.
func (r *Recorder) Acquire() Batch {
	r.mu.Lock()
	return Batch{r}
}

// Release ends the batch that Acquire began.
func (r *Recorder) Release() { r.mu.Unlock() }

// Stack resolves the stack of k and holds it until its own Release. Resolving
// twice gives the same stack. It locks; in a batch, use Batch.Stack.
func (r *Recorder) Stack(k Key) *Stack {
	b := r.Acquire()
	defer r.Release()
	return b.Stack(k)
}

// Stack is Recorder.Stack for use in a batch.
func (b Batch) Stack(k Key) *Stack {
	s := b.r.stack(k)
	if !s.held {
		s.held = true
		if len(s.open) == 0 {
			b.r.idle--
		}
	}
	return s
}

// Attributes returns those of an open scope, nil for none. They are valid until the
// scope is closed.
func (b Batch) Attributes(t Token) []byte {
	if !b.r.isOpen(t) {
		return nil
	}
	return b.r.slots[t.slot].attributes
}

// Stats is Recorder.Stats for use in a batch.
func (b Batch) Stats() Stats { return b.r.stats() }

// Key returns the stack's key.
func (s *Stack) Key() Key { return s.key }

// Depth is the number of open scopes. A nil stack has none.
func (s *Stack) Depth() int {
	if s == nil {
		return 0
	}
	return len(s.open)
}

// Top returns the token of the innermost open scope.
func (s *Stack) Top() (Token, bool) {
	if s.Depth() == 0 {
		return Token{}, false
	}
	return s.r.token(s.open[len(s.open)-1]), true
}

// Path returns the path of the innermost open scope, nil if none is open.
func (s *Stack) Path() *Path {
	if s.Depth() == 0 {
		return nil
	}
	return s.r.slots[s.open[len(s.open)-1]].path
}

// At returns the token of the i-th open scope, 0 being the outermost. It panics
// unless 0 ≤ i < Depth().
func (s *Stack) At(i int) Token { return s.r.token(s.open[i]) }

// Release forgets the stack once its thread has ended, since another thread may
// get its key. It does nothing and returns false while scopes are open. Entering
// a released stack fails with ErrReleased.
func (s *Stack) Release() bool {
	switch {
	case s.released:
		return true
	case len(s.open) > 0:
		return false
	}
	if !s.held {
		s.r.idle--
	}
	s.released = true
	s.open = nil
	delete(s.r.stacks, s.key)
	return true
}

// Enter is Recorder.Enter on this stack. name and attrs are copied where they
// are kept; threadName is kept as it is, unless it is empty.
func (s *Stack) Enter(threadName string, name, attrs []byte) (Token, Boundary, error) {
	r := s.r
	name, cut := cleanName(name, r.limits.MaxName)
	n := len(s.open)
	if err := s.mayEnter(name, n); err != nil {
		return Token{}, Boundary{}, err
	}
	parent, scope := r.paths.root, uint64(0)
	if n > 0 {
		up := &r.slots[s.open[n-1]]
		parent, scope = up.path, up.scope
	}
	path := r.paths.child(parent, name)
	if path.overflow {
		cut |= CutPath
		r.counts.PathsOverflowed++
	}
	if cut&CutName != 0 {
		r.counts.NamesCut++
	}
	i := r.takeSlot()
	sl := &r.slots[i]
	r.seq++
	sl.scope, sl.parent, sl.path, sl.stack = r.seq, scope, path, s
	if threadName == "" {
		threadName = s.defaultThreadName()
	}
	sl.threadName, sl.cut = threadName, cut
	if !noAttributes(attrs) {
		r.keep(sl, attrs)
	}
	if n == 0 && !s.held {
		r.idle--
	}
	s.open = append(s.open, i)
	t := Token{stack: s, path: path, scope: sl.scope, slot: i, epoch: r.epoch}
	return t, sl.boundary(Enter, sl.scope, i), nil
}

// defaultThreadName is "thread-" and the id, as the seed calls a thread without
// a name.
func (s *Stack) defaultThreadName() string {
	if s.nameless == "" {
		s.nameless = "thread-" + strconv.Itoa(s.key.ThreadID)
	}
	return s.nameless
}

// mayEnter says why the stack, n deep, cannot take another scope.
func (s *Stack) mayEnter(name []byte, n int) error {
	r := s.r
	switch {
	case len(name) == 0:
		r.counts.EmptyNames++
		return ErrEmptyName
	case s.released:
		return ErrReleased
	case n >= r.limits.MaxDepth:
		r.counts.TooDeep++
		return ErrTooDeep
	case len(r.free) == 0 && len(r.slots) >= r.limits.MaxScopes:
		r.counts.TooManyScopes++
		return ErrTooManyScopes
	}
	return nil
}

// Exit is Recorder.Exit by this stack's thread.
func (s *Stack) Exit(t Token) (Boundary, error) {
	if n := len(s.open); n > 0 && s.open[n-1] == t.slot && s.r.isOpen(t) {
		return s.pop(), nil
	}
	if t.stack == nil {
		return Boundary{}, s.r.refuse(s, s.key.ThreadID, ScopeRef{})
	}
	return s.r.exit(t, s.key.ThreadID)
}

// exit closes t on behalf of a thread, or says why not.
func (r *Recorder) exit(t Token, threadID int) (Boundary, error) {
	s := t.stack
	if s == nil || s.r != r || s.key.ThreadID != threadID || s.released {
		k := t.Key()
		k.ThreadID = threadID
		s = r.stacks[k]
	}
	if n := s.Depth(); n > 0 && r.isOpen(t) && s.open[n-1] == t.slot {
		return s.pop(), nil
	}
	return Boundary{}, r.refuse(s, threadID, r.ref(t))
}

// pop closes the innermost scope.
func (s *Stack) pop() Boundary {
	r := s.r
	n := len(s.open) - 1
	i := s.open[n]
	s.open = s.open[:n]
	r.seq++
	sl := &r.slots[i]
	b := sl.boundary(Exit, r.seq, i)
	sl.scope = 0
	if sl.attributes != nil {
		r.buffers.put(sl.attributes)
		sl.attributes = nil
	}
	r.free = append(r.free, i)
	if n == 0 && !s.held {
		r.idle++
	}
	return b
}

// refuse judges the exit of a scope that is not on top of s, which may be nil.
func (r *Recorder) refuse(s *Stack, threadID int, closing ScopeRef) error {
	e := &ProtocolError{ThreadID: threadID, Closing: closing}
	top, ok := s.Top()
	if ok {
		e.Top = r.ref(top)
	}
	switch {
	case !ok && closing.Open:
		e.Kind = WrongThread
	case !ok:
		e.Kind = NoActivePhase
	case closing.Open && r.slots[closing.Slot].stack == s:
		e.Kind = NotLIFO
	case closing.Open:
		e.Kind = WrongThread
	default:
		e.Kind = UnknownScope
	}
	r.counts.Violations[e.Kind]++
	return e
}

// isOpen reports whether the scope of t is open.
func (r *Recorder) isOpen(t Token) bool {
	if t.epoch != r.epoch || int(t.slot) >= len(r.slots) {
		return false
	}
	sl := &r.slots[t.slot]
	return sl.scope == t.scope && sl.stack == t.stack && t.scope != 0
}

func (r *Recorder) token(i uint32) Token {
	sl := &r.slots[i]
	return Token{stack: sl.stack, path: sl.path, scope: sl.scope, slot: i, epoch: r.epoch}
}

func (r *Recorder) ref(t Token) ScopeRef {
	if t.stack == nil {
		return ScopeRef{}
	}
	k := t.stack.key
	ref := ScopeRef{
		Scope: t.scope, Path: t.path, SessionID: k.SessionID, Rank: k.Rank, ThreadID: k.ThreadID, Lane: k.Lane,
	}
	if r.isOpen(t) {
		sl := &r.slots[t.slot]
		ref.Open, ref.Slot, ref.Parent, ref.ThreadName = true, t.slot, sl.parent, sl.threadName
	}
	return ref
}

func (r *Recorder) takeSlot() uint32 {
	if n := len(r.free); n > 0 {
		i := r.free[n-1]
		r.free = r.free[:n-1]
		return i
	}
	r.slots = append(r.slots, slot{})
	return uint32(len(r.slots) - 1)
}

func (sl *slot) boundary(a Action, sequence uint64, i uint32) Boundary {
	k := &sl.stack.key
	return Boundary{
		Action: a, Cut: sl.cut, Slot: i, Rank: k.Rank,
		Sequence: sequence, Scope: sl.scope, Parent: sl.parent, Path: sl.path,
		ThreadID: k.ThreadID, SessionID: k.SessionID, Lane: k.Lane,
		ThreadName: sl.threadName, Attributes: sl.attributes,
	}
}

// keep copies attributes into the slot, or leaves them out for want of room.
func (r *Recorder) keep(sl *slot, attrs []byte) {
	if len(attrs) <= r.limits.MaxAttributes {
		if buf := r.buffers.get(len(attrs)); buf != nil {
			sl.attributes = append(buf, attrs...)
			return
		}
	}
	sl.cut |= CutAttributes
	r.counts.AttributesDropped++
}
