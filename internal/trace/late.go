// SPDX-License-Identifier: Apache-2.0

package trace

import "github.com/phasetrace/phasetrace/internal/loader"

// maxLate bounds how many exits a lane waits for.
const maxLate = 32

// lateExits are scopes that a repair has closed and whose own exits may still
// come: the defect has been told once, and its echo is none of its own.
type lateExits struct {
	scopes [maxLate]lateExit
	n      int
}

type lateExit struct {
	pair *pair
	user uint64
}

// add remembers a scope that is about to be closed by a repair. The oldest is
// forgotten when there are too many.
func (l *lateExits) add(sc *scope) {
	if sc.pair == nil {
		return
	}
	if l.n == maxLate {
		copy(l.scopes[:], l.scopes[1:])
		l.n--
	}
	l.scopes[l.n] = lateExit{sc.pair, sc.user}
	l.n++
}

// take reports whether an exit that matches nothing open is one that was
// waited for, and stops waiting for it.
func (l *lateExits) take(s *site, ev *loader.Event) bool {
	for i := l.n - 1; i >= 0; i-- {
		x := l.scopes[i]
		if x.pair == s.pair && (s.token == none || x.user == ev.Values[s.token].Int) {
			copy(l.scopes[i:], l.scopes[i+1:l.n])
			l.n--
			return true
		}
	}
	return false
}

// expire forgets exits that can no longer come: a new scope of a pair without
// tokens takes every exit from now on.
func (l *lateExits) expire(s *site) {
	if l.n == 0 || s.token != none {
		return
	}
	kept := 0
	for _, x := range l.scopes[:l.n] {
		if x.pair != s.pair {
			l.scopes[kept] = x
			kept++
		}
	}
	l.n = kept
}
