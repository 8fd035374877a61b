// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"maps"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
)

// maxReported bounds the threads whose losses are kept apart. The kernel keeps
// fewer.
const maxReported = 1 << 16

// losses are the markers that were lost, as far as is known.
type losses struct {
	total    uint64                     // reported, of all threads
	reported map[event.ThreadKey]uint64 // by the kernel's own keys
	full     bool                       // some are not in reported

	ask       func() (all, stateless uint64) // Config.Lost
	asked     bool                           // in this batch
	all       uint64
	stateless uint64 // for want of memory for their thread's state
}

func newLosses(ask func() (all, stateless uint64)) losses {
	return losses{reported: make(map[event.ThreadKey]uint64), ask: ask}
}

// report notes that n markers of a thread have been reported lost.
func (l *losses) report(k event.ThreadKey, n uint64) {
	l.total += n
	if _, ok := l.reported[k]; ok || len(l.reported) < maxReported {
		l.reported[k] += n
	} else {
		l.full = true
	}
}

// unreported is how many of a thread's lost markers are still to be reported.
func (l *losses) unreported(k event.ThreadKey, lost uint64) uint64 {
	n, ok := l.reported[k]
	if lost <= n || !ok && l.full {
		return 0
	}
	return lost - n
}

// soFar is how many markers of any thread are known to be lost. A record of one
// thread can prove that something happened before on another, whose own loss no
// record shows yet; so this asks the kernel.
func (l *losses) soFar() uint64 {
	l.look()
	return l.known()
}

// known is the same without asking.
func (l *losses) known() uint64 { return max(l.all, l.total) }

// untraceable reports whether markers were lost that no record will show: then no
// exit proves that its enter was never hit.
func (l *losses) untraceable() bool {
	l.look()
	return l.stateless > 0
}

// look asks the kernel, once a batch.
func (l *losses) look() {
	if !l.asked && l.ask != nil {
		l.all, l.stateless = l.ask()
		l.asked = true
	}
}

// sortedKeys returns the threads of the kernel's count, by id and start.
func sortedKeys(lost map[event.ThreadKey]event.ThreadLoss) []event.ThreadKey {
	return slices.SortedFunc(maps.Keys(lost), func(a, b event.ThreadKey) int {
		return cmp.Or(cmp.Compare(a.TID, b.TID), cmp.Compare(a.StartTime, b.StartTime))
	})
}
