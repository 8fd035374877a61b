// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
)

// A library that is loaded, used and unloaded before the watcher looks, or whose
// process ends before that, leaves nothing to look at. Its dynamic linker tells its
// name, so that the file can be read nevertheless: then it is known whether markers
// were missed, and the next time none are.

// added are the libraries that a process has loaded since the last look.
type added struct {
	names   []string // as its dynamic linker calls them
	unnamed bool     // and perhaps others
	until   int64    // when that was last told, ns CLOCK_MONOTONIC
}

// maxAdded bounds the libraries of one process that are waited for by name.
const maxAdded = 256

func (a *added) join(b added) {
	a.unnamed, a.until = a.unnamed || b.unnamed, max(a.until, b.until)
	for _, name := range b.names {
		switch {
		case slices.Contains(a.names, name):
		case len(a.names) < maxAdded:
			a.names = append(a.names, name)
		default:
			a.unnamed = true
		}
	}
}

// naming collects the names that come before a change of a dynamic linker's list.
// It belongs to whoever reads events.
type naming struct{ names map[int][]string }

// changeOf is the function of that name, with what an event before has told.
func (n *naming) changeOf(ev event.Event) (change, bool) {
	l, isLibrary := ev.(*event.Library)
	if !isLibrary {
		return changeOf(ev)
	}
	pid := l.Who.ViewPID
	if len(l.Name) > 0 {
		if n.names == nil {
			n.names = make(map[int][]string)
		}
		if len(n.names[pid]) < maxAdded {
			n.names[pid] = append(n.names[pid], string(l.Name))
		}
		return change{}, false
	}
	c, ok := changeOf(ev)
	c.added = added{n.names[pid], l.Unnamed, l.Time}
	delete(n.names, pid)
	return c, ok
}
