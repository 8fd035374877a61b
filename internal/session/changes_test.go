// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/phasetrace/phasetrace/internal/event"
)

// What happens to a process before anybody looks becomes one change, which lets
// nobody wait in vain and forgets no program.
func TestChangesOfOneProcess(t *testing.T) {
	a, b := event.File{Inode: 1}, event.File{Inode: 2}
	library := change{pid: 7, since: 1}
	exec := func(f event.File) change { return change{pid: 7, since: 2, exec: true, stoppable: true, file: f} }
	start := change{pid: 7, since: 3, start: true, stoppable: true, halted: true}
	for name, c := range map[string]struct {
		events []change
		want   change
	}{
		"a library": {[]change{library, library}, library},
		"a program and its start": {[]change{library, exec(a), library, start},
			change{pid: 7, since: 2, exec: true, start: true, stoppable: true, file: a, halted: true}},
		"another program": {[]change{exec(a), start, exec(b)},
			change{pid: 7, since: 2, exec: true, stoppable: true, file: b, halted: true, overtaken: []event.File{a}}},
		"many programs": {[]change{exec(a), exec(a), exec(b)},
			change{pid: 7, since: 2, exec: true, stoppable: true, file: b, overtaken: []event.File{a, a}}},
	} {
		var l changes
		for _, ev := range c.events {
			l.add(ev)
		}
		got, same, ok := l.next()
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(change{}, added{})); diff != "" || len(same) != 0 || !ok {
			t.Errorf("%s: with %v; (-want +got):\n%s", name, same, diff)
		}
	}
}

// Programs that wait come first, and those of one file together, but for those
// that have each to be looked at by themselves.
func TestChangesInTurn(t *testing.T) {
	f := event.File{Inode: 1}
	var l changes
	for _, c := range []change{
		{pid: 1}, {pid: 2, exec: true, file: f}, {pid: 3, start: true}, {pid: 4, exec: true, file: f},
		{pid: 5, exec: true, start: true, file: f}, {pid: 6, exec: true, file: event.File{Inode: 2}},
	} {
		l.add(c)
	}
	var got [][]int
	for first, same, ok := l.next(); ok; first, same, ok = l.next() {
		group := []int{first.pid}
		for _, c := range same {
			group = append(group, c.pid)
		}
		got = append(got, group)
	}
	if diff := cmp.Diff([][]int{{2, 4}, {3}, {5}, {6}, {1}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
