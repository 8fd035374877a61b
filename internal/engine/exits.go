// SPDX-License-Identifier: Apache-2.0

package engine

import "slices"

// Bounds of the exits that are expected: of one process, and of all together.
const (
	maxExpectedHere = 4096
	maxExpected     = 1 << 17
)

// exitBudget is how many more exits may be expected.
type exitBudget struct{ left int }

// maxEnded is how many scopes that have ended a process remembers.
const maxEnded = 64

// exitMemory is what a process remembers of scopes that are over, to find out
// what an exit without an open scope means.
type exitMemory struct {
	// expected are scopes with tokens that phasetrace closed itself and whose own
	// exits may still come, each with the host id of its thread: the defect has
	// been reported once, and its echo is not another.
	expected map[exitKey]uint32
	order    []exitKey // of expected, the oldest first, and some that were taken out of it
	ended    *[maxEnded]endedScope
	next     uint8 // place in ended
	// The same of keyed scopes.
	endedKeys *[maxEnded]endedKey
	nextKey   uint8
}

// exitKey is what an exit says: its pair and the scope's token.
type exitKey struct {
	pair *Pair
	user uint64
}

// endedScope is a scope that has ended by its own exit or with its thread, by its
// token.
type endedScope struct {
	pair *Pair
	user uint64
	time int64 // when it ended
}

// endedKey is a scope that has ended by its own exit, by its key.
type endedKey struct {
	pair  *Pair
	value keyValue
	time  int64 // when it ended
}

// expect remembers a scope. The oldest of the process is forgotten when there
// are too many.
func (m *exitMemory) expect(k exitKey, tid uint32, b *exitBudget) {
	for len(m.expected) >= maxExpectedHere || b.left == 0 && len(m.expected) > 0 {
		m.take(m.order[0], b)
		m.order = m.order[1:]
	}
	if b.left == 0 {
		return
	}
	if m.expected == nil {
		m.expected = make(map[exitKey]uint32)
	}
	if _, ok := m.expected[k]; !ok {
		b.left--
	}
	m.expected[k] = tid
	if len(m.order) >= 2*maxExpectedHere {
		m.order = slices.DeleteFunc(m.order, func(k exitKey) bool { _, ok := m.expected[k]; return !ok })
	}
	m.order = append(m.order, k)
}

// expects reports whether an exit is expected.
func (m *exitMemory) expects(k exitKey) bool {
	_, ok := m.expected[k]
	return ok
}

// take stops expecting an exit, and returns the host id of its thread.
func (m *exitMemory) take(k exitKey, b *exitBudget) uint32 {
	tid, ok := m.expected[k]
	if ok {
		delete(m.expected, k)
		b.left++
	}
	return tid
}

// over remembers a scope that has ended.
func (m *exitMemory) over(e endedScope) {
	if m.ended == nil {
		m.ended = new([maxEnded]endedScope)
	}
	m.ended[m.next%maxEnded] = e
	m.next++
}

// knows reports whether such a scope ended recently, and not before the time that
// e has: tokens come again when a library is loaded again.
func (m *exitMemory) knows(e endedScope) bool {
	if m.ended == nil {
		return false
	}
	for i := range m.ended {
		if o := &m.ended[i]; o.pair == e.pair && o.time >= e.time && o.user == e.user {
			return true
		}
	}
	return false
}

// keyOver and knowsKey do the same for keyed scopes.
func (m *exitMemory) keyOver(e endedKey) {
	if m.endedKeys == nil {
		m.endedKeys = new([maxEnded]endedKey)
	}
	m.endedKeys[m.nextKey%maxEnded] = e
	m.nextKey++
}

func (m *exitMemory) knowsKey(e endedKey) bool {
	if m.endedKeys == nil {
		return false
	}
	for i := range m.endedKeys {
		if o := &m.endedKeys[i]; o.pair == e.pair && o.time >= e.time && o.value.same(&e.value) {
			return true
		}
	}
	return false
}

// clear forgets everything: the process has ended, or runs another program.
func (m *exitMemory) clear(b *exitBudget) {
	b.left += len(m.expected)
	*m = exitMemory{}
}

// pairExits counts the exits that a lane expects of a pair without tokens.
type pairExits struct {
	pair *Pair
	n    uint32
}

// expect notes that an exit of a pair may still come.
func (ln *lane) expect(p *Pair) {
	for i := range ln.expected {
		if ln.expected[i].pair == p {
			ln.expected[i].n++
			return
		}
	}
	ln.expected = append(ln.expected, pairExits{p, 1})
}

// expects reports whether an exit of a pair without tokens is expected.
func (ln *lane) expects(p *Pair) bool {
	return slices.ContainsFunc(ln.expected, func(x pairExits) bool { return x.pair == p && x.n > 0 })
}

// take stops expecting one.
func (ln *lane) take(p *Pair) {
	for i := range ln.expected {
		if x := &ln.expected[i]; x.pair == p && x.n > 0 {
			x.n--
		}
	}
}

// expire forgets those of a pair: a new scope takes every exit from now on.
func (ln *lane) expire(p *Pair) {
	for i := range ln.expected {
		if ln.expected[i].pair == p {
			ln.expected[i].n = 0
		}
	}
}
