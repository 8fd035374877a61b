// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
)

// maxLate bounds how many exits a lane waits for, and maxLateTotal how many all
// lanes do together.
const (
	maxLate      = 1024
	maxLateTotal = 1 << 17
)

// lateExits are scopes that a repair has closed and whose own exits may still
// come: the defect has been told once, and its echo is none of its own.
type lateExits struct{ scopes []lateExit }

type lateExit struct {
	pair *Pair
	user uint64
}

// waitFor remembers a scope that is about to be closed by a repair. The oldest
// of the lane is forgotten when there are too many.
func (e *Engine) waitFor(ln *lane, sc *scope) {
	if sc.pair == nil {
		return
	}
	l := &ln.late
	switch {
	case len(l.scopes) == maxLate || e.late >= maxLateTotal && len(l.scopes) > 0:
		l.scopes = slices.Delete(l.scopes, 0, 1)
	case e.late >= maxLateTotal:
		return
	default:
		e.late++
	}
	l.scopes = append(l.scopes, lateExit{sc.pair, sc.user})
}

// take reports whether an exit that matches nothing open is one that was
// waited for, and stops waiting for it.
func (l *lateExits) take(s *Site, ev *event.Marker) bool {
	for i := len(l.scopes) - 1; i >= 0; i-- {
		x := l.scopes[i]
		if x.pair == s.Pair && (s.Token == None || x.user == ev.Values[s.Token].Int) {
			l.scopes = slices.Delete(l.scopes, i, i+1)
			return true
		}
	}
	return false
}

// expire forgets exits that can no longer come, and returns how many: a new
// scope of a pair without tokens takes every exit from now on.
func (l *lateExits) expire(s *Site) int {
	before := len(l.scopes)
	if before == 0 || s.Token != None {
		return 0
	}
	l.scopes = slices.DeleteFunc(l.scopes, func(x lateExit) bool { return x.pair == s.Pair })
	return before - len(l.scopes)
}

// clear forgets all and returns how many there were.
func (l *lateExits) clear() int {
	n := len(l.scopes)
	l.scopes = nil
	return n
}
