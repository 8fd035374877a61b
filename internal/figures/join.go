// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A phase that was entered before the attach is in no path: until it ends, those
// inside it look like outermost ones. Its exit, an orphan, proves that they were
// not. Such phases are added to those of the same name whose surroundings were
// seen, and counted as joined, if there is exactly one place for them.

// joined returns the figures with early phases where they belong: f itself if there
// are none.
func (f *Figures) joined() *Figures {
	places := f.places()
	if len(places) == 0 {
		return f
	}
	out := New()
	if f.groups != nil {
		out.groups = newGroups(f.groups.by)
	}
	out.add(f, func(p *recorder.Path) *recorder.Path {
		if place := places[p]; place != nil {
			return place
		}
		return p
	})
	return out
}

// places returns where early phases, and those inside them, belong.
func (f *Figures) places() map[*recorder.Path]*recorder.Path {
	if f.early == 0 {
		return nil
	}
	places := make(map[*recorder.Path]*recorder.Path)
	inside := make(map[inner]*recorder.Path) // the paths that there are
	for _, p := range f.paths {
		if p != nil && !p.path.Overflow() {
			inside[inner{p.path.Parent(), p.path.Name()}] = p.path
		}
	}
	for _, p := range f.paths { // parents come before what is inside them
		switch {
		case p == nil || p.path.Overflow():
		case p.path.Parent() == nil:
			if place := f.place(p); place != nil {
				places[p.path] = place
			}
		default:
			if outer := places[p.path.Parent()]; outer != nil {
				if place := inside[inner{outer, p.path.Name()}]; place != nil {
					places[p.path] = place
				}
			}
		}
	}
	return places
}

// inner is a name inside a path.
type inner struct {
	parent *recorder.Path
	name   string
}

// place returns the only other path with the name of an outermost one, if every
// scope of that may have been inside a phase that was entered before the attach.
func (f *Figures) place(root *path) *recorder.Path {
	if root.entered >= f.early {
		return nil
	}
	var found *recorder.Path
	for _, p := range f.paths {
		if p == nil || p == root || p.path.Name() != root.path.Name() || p.path.Overflow() {
			continue
		}
		if found != nil || outermost(p.path) == root.path {
			return nil
		}
		found = p.path
	}
	return found
}

func outermost(p *recorder.Path) *recorder.Path {
	for p.Parent() != nil {
		p = p.Parent()
	}
	return p
}

// orphanAt notes when a phase ended that was entered before the attach.
func (f *Figures) orphanAt(o *stream.Orphan) {
	if o.Reason == stream.OrphanBeforeAttach {
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
