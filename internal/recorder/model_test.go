// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"fmt"
	"strconv"
	"strings"
)

// This is the recorder once more, written from its specification and as naively
// as can be: maps of slices, everything by value and by search. It shares no
// code with the recorder apart from plain types.

type modelScope struct {
	number uint64 // sequence of the enter
	key    Key
	thread string
	path   []string
	over   bool // on an overflow node
	attrs  string
	parent uint64
}

func (s *modelScope) id() string { return s.key.SessionID + ":" + strconv.FormatUint(s.number, 10) }

type model struct {
	limits   Limits
	sequence uint64
	stacks   map[Key][]*modelScope
	paths    map[string]int // known path, joined, to its number of children
	bytes    int
}

func newModel(l Limits) *model {
	return &model{limits: l, stacks: map[Key][]*modelScope{}, paths: map[string]int{"": 0}}
}

func joined(path []string) string {
	s := ""
	for _, p := range path {
		s += "/" + strconv.Quote(p)
	}
	return s
}

func (m *model) all() []*modelScope {
	var all []*modelScope
	for _, stack := range m.stacks {
		all = append(all, stack...)
	}
	return all
}

func (m *model) count() (n int) {
	for _, stack := range m.stacks {
		n += len(stack)
	}
	return n
}

// pythonSpace is what Python's str.strip takes away.
const pythonSpace = "\t\n\v\f\r\x1c\x1d\x1e\x1f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

// modelName trims and cuts.
func (m *model) modelName(name string) string {
	name = strings.Trim(name, pythonSpace)
	if len(name) <= m.limits.MaxName {
		return name
	}
	kept := ""
	for _, c := range strings.SplitAfter(name, "") { // one character each
		if len(kept)+len(c) > m.limits.MaxName {
			break
		}
		kept += c
	}
	return strings.Trim(kept, pythonSpace)
}

// modelPath is the path of name below parent, with the limits' overflow.
func (m *model) modelPath(parent *modelScope, name string) (path []string, over bool) {
	var up []string
	if parent != nil {
		up = parent.path
		if parent.over {
			return up, true
		}
	}
	path = append(append([]string{}, up...), name)
	if _, ok := m.paths[joined(path)]; ok {
		return path, false
	}
	if len(m.paths)-1 >= m.limits.MaxPaths || m.paths[joined(up)] >= m.limits.MaxChildren || m.bytes+len(name) > m.limits.MaxNameBytes {
		return append(append([]string{}, up...), OtherName), true
	}
	m.paths[joined(up)]++
	m.paths[joined(path)] = 0
	m.bytes += len(name)
	return path, false
}

func (m *model) enter(k Key, thread, name, attrs string) (*modelScope, error) {
	name = m.modelName(name)
	if name == "" {
		return nil, ErrEmptyName
	}
	if len(m.stacks[k]) >= m.limits.MaxDepth {
		return nil, ErrTooDeep
	}
	if m.count() >= m.limits.MaxScopes {
		return nil, ErrTooManyScopes
	}
	if len(attrs) > m.limits.MaxAttributes || strings.Join(strings.Fields(attrs), "") == "{}" {
		attrs = ""
	}
	if thread == "" {
		thread = fmt.Sprintf("thread-%d", k.ThreadID)
	}
	s := &modelScope{key: k, thread: thread, attrs: attrs}
	var parent *modelScope
	if stack := m.stacks[k]; len(stack) > 0 {
		parent = stack[len(stack)-1]
		s.parent = parent.number
	}
	s.path, s.over = m.modelPath(parent, name)
	m.sequence++
	s.number = m.sequence
	m.stacks[k] = append(m.stacks[k], s)
	return s, nil
}

// exit closes the scope, or says the kind of error, in the order of the table.
func (m *model) exit(s *modelScope, k Key) error {
	stack := m.stacks[k]
	elsewhere := false
	for other, scopes := range m.stacks {
		if s == nil || other.SessionID != k.SessionID || other.Rank != k.Rank || other.ThreadID == k.ThreadID {
			continue
		}
		for _, o := range scopes {
			elsewhere = elsewhere || o == s
		}
	}
	if len(stack) == 0 {
		if elsewhere {
			return WrongThread
		}
		return NoActivePhase
	}
	if stack[len(stack)-1] == s {
		m.sequence++
		m.stacks[k] = stack[:len(stack)-1]
		if len(stack) == 1 {
			delete(m.stacks, k)
		}
		return nil
	}
	for _, o := range stack {
		if o == s {
			return NotLIFO
		}
	}
	if elsewhere {
		return WrongThread
	}
	return UnknownScope
}

// find is the open scope with that id in that session and rank.
func (m *model) find(session string, rank int32, id string) *modelScope {
	for _, s := range m.all() {
		if s.key.SessionID == session && s.key.Rank == rank && s.id() == id {
			return s
		}
	}
	return nil
}

func (m *model) reset() {
	m.sequence = 0
	m.stacks = map[Key][]*modelScope{}
}

// active is one line a thread, for the deepest of its scopes.
func (m *model) active() map[string]string {
	type best struct {
		depth int
		scope *modelScope
	}
	found := map[string]best{}
	for k, stack := range m.stacks {
		if len(stack) == 0 {
			continue
		}
		thread := fmt.Sprintf("%q %d %d", k.SessionID, k.Rank, k.ThreadID)
		top := stack[len(stack)-1]
		if b, ok := found[thread]; !ok || len(stack) > b.depth || len(stack) == b.depth && top.number > b.scope.number {
			found[thread] = best{len(stack), top}
		}
	}
	lines := map[string]string{}
	for thread, b := range found {
		lines[thread] = fmt.Sprintf("%s %v", b.scope.id(), b.scope.path)
	}
	return lines
}
