// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/process"
)

// oldContents are mappings of a file from before it was written to. What such a
// process has changed of its data it keeps, with the layout of the old contents: a
// semaphore of the new ones would be something else there.
type oldContents struct {
	mapped     []process.Mapped
	unknown    bool            // it is not known who
	semaphores map[uint64]bool // of the old contents, by file offset
}

// oldFiles are those of all files.
type oldFiles map[fileKey][]oldContents

// add notes who shows what was in a file when its guard gave way.
func (o oldFiles) add(f *file, g *guard) {
	c := oldContents{mapped: g.old, unknown: g.oldErr != nil, semaphores: make(map[uint64]bool)}
	for i := range f.elf.Sites {
		c.semaphores[f.elf.Sites[i].RefCtr] = true
	}
	if len(c.mapped) > 0 || c.unknown {
		o[g.key] = append(o[g.key], c)
	}
}

// shownBy returns a process in which semaphores of a file would be something else;
// 0: none, negative: that cannot be told. pid limits the question to one process, 0
// is for all.
func (o oldFiles) shownBy(f openFile, pid int) int {
	key := f.key
	harmed := func(c oldContents) bool { return !c.hasAll(f.file) }
	if !slices.ContainsFunc(o[key], harmed) {
		return 0
	}
	now, err := whoMaps(f.handle)
	if err != nil {
		return -1
	}
	o[key] = slices.DeleteFunc(o[key], func(c oldContents) bool { return !slices.ContainsFunc(now, c.shown) })
	if len(o[key]) == 0 {
		delete(o, key)
	}
	for _, m := range now {
		if pid != 0 && m.PID != pid {
			continue
		}
		if slices.ContainsFunc(o[key], func(c oldContents) bool { return harmed(c) && c.shown(m) }) {
			return m.PID
		}
	}
	return 0
}

// hasAll reports whether every semaphore of a file was one in the old contents.
func (c oldContents) hasAll(f *file) bool {
	for i := range f.elf.Sites {
		if at := f.elf.Sites[i].RefCtr; at != 0 && !c.semaphores[at] {
			return false
		}
	}
	return true
}

// shown reports whether a mapping of the file shows the old contents, or may: a
// child has those of its parent, and a new mapping at an old one's address is not
// told from it.
func (c oldContents) shown(now process.Mapped) bool {
	return c.unknown || slices.ContainsFunc(c.mapped, func(m process.Mapped) bool { return m.Start == now.Start })
}
