// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"math"
	"slices"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A phase that was entered before the attach is in no path: until it ends, those
// inside it look like outermost ones. Its exit, an orphan, proves that they were
// not. Such phases are added to those of the same name whose surroundings were
// seen, and counted as joined, if there is exactly one place for them.

// joined returns the figures with early phases where they belong: f itself if there
// are none. Its paths are then of Paths of their own.
func (f *Figures) joined() *Figures {
	j := joiner{f: f, places: make(map[*recorder.Path]*recorder.Path)}
	if f.early == 0 || !j.find() {
		return f
	}
	out := New()
	if f.groups != nil {
		out.groups = newGroups(f.groups.by)
	}
	j.paths = recorder.NewPaths(recorder.Limits{MaxPaths: math.MaxInt, MaxChildren: math.MaxInt, MaxName: math.MaxInt, MaxNameBytes: math.MaxInt})
	out.add(f, j.path)
	return out
}

// joiner finds where early phases belong.
type joiner struct {
	f *Figures
	// places are where outermost phases belong.
	places map[*recorder.Path]*recorder.Path
	paths  *recorder.Paths // for the joined figures
}

// find finds the places, and reports whether there is any. One that is found can
// leave one place for another.
func (j *joiner) find() bool {
	for more := true; more; {
		more = false
		for _, p := range j.f.paths {
			if p == nil || p.path.Parent() != nil || p.path.Overflow() || p.entered >= j.f.early || j.places[p.path] != nil {
				continue
			}
			if place := j.place(p.path); place != nil {
				j.places[p.path], more = place, true
			}
		}
	}
	return len(j.places) > 0
}

// place returns where alone there are other phases with the name of an outermost
// one, if there is such a place.
func (j *joiner) place(root *recorder.Path) *recorder.Path {
	var found *recorder.Path
	for _, p := range j.f.paths {
		if p == nil || p.path == root || p.path.Name() != root.Name() || p.path.Overflow() {
			continue
		}
		if found != nil && !slices.Equal(j.parts(found), j.parts(p.path)) || j.outermost(p.path) == root {
			return nil
		}
		found = p.path
	}
	return found
}

// parts returns the names of a path where it belongs.
func (j *joiner) parts(p *recorder.Path) []string {
	switch place, parent := j.places[p], p.Parent(); {
	case place != nil:
		return j.parts(place)
	case parent != nil:
		return append(j.parts(parent), p.Name())
	}
	return []string{p.Name()}
}

// outermost returns the outermost phase around a path where it belongs.
func (j *joiner) outermost(p *recorder.Path) *recorder.Path {
	for {
		switch place, parent := j.places[p], p.Parent(); {
		case place != nil:
			p = place
		case parent != nil:
			p = parent
		default:
			return p
		}
	}
}

// path returns the path of the joined figures for one of those that were recorded.
func (j *joiner) path(p *recorder.Path) (out *recorder.Path, moved bool) {
	if place := j.places[p]; place != nil {
		out, _ = j.path(place)
		return out, true
	}
	var parent *recorder.Path
	if outer := p.Parent(); outer != nil {
		parent, moved = j.path(outer)
	}
	if p.Overflow() {
		return j.paths.Other(parent), moved
	}
	out, _, err := j.paths.Child(parent, p.Name())
	if err != nil { // a name that a recorder has taken is never empty
		out = j.paths.Other(parent)
	}
	return out, moved
}

// orphanAt notes when a phase ended that was entered before the attach, or while
// nobody traced.
func (f *Figures) orphanAt(o *stream.Orphan) {
	if o.Reason == stream.OrphanBeforeAttach || o.Reason == stream.OrphanUntraced {
		f.early = max(f.early, o.Time)
	}
}

// Seen says of what was counted elsewhere when a path was last entered, and, for
// early, when a phase last ended that had been entered before the attach: in any
// unit above 0, or 0 for never.
func (f *Figures) Seen(of *recorder.Path, entered, early int64) {
	p := f.path(of)
	p.entered, f.early = max(p.entered, entered), max(f.early, early)
}
