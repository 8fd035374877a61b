// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// A library that is loaded, used and unloaded before the watcher looks, or whose
// process ends before that, leaves nothing to look at. Its dynamic linker tells its
// name, so that the file can be read nevertheless: then it is known whether markers
// were missed, and the next time none are.

// added are the libraries that a process has loaded since the last look.
type added struct {
	names   []string // as its dynamic linker calls them
	unnamed bool     // and perhaps others
}

// maxAdded bounds the libraries of one process that are waited for by name.
const maxAdded = 256

func (a *added) join(b added) {
	a.unnamed = a.unnamed || b.unnamed
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
	c.added = added{n.names[pid], l.Unnamed}
	delete(n.names, pid)
	return c, ok
}

// lookAdded reads the libraries that a process has loaded and that are not among
// what it has mapped now.
func (w *watcher) lookAdded(ctx context.Context, v *view, names []string) {
	for _, name := range names {
		// The kernel's own object has no path.
		mapped := slices.ContainsFunc(v.modules, func(m process.Module) bool { return m.Path == name })
		if ctx.Err() != nil || path.Base(name) == name || mapped || slices.Contains(v.names, name) {
			continue
		}
		f, err := w.files.read(name, func() (*os.File, error) { return v.proc.OpenInside(name) })
		switch {
		case err == nil:
			v.loaded = append(v.loaded, f.file)
			v.looked.add(f, nil)
		case !errors.Is(err, usdt.ErrNotELF) && !errors.Is(err, usdt.ErrUnsupportedELF):
			v.lost = append(v.lost, name)
		}
	}
}

// passed are the files of a view that were loaded and are not mapped any more, and
// that no probe was in then.
func (w *watcher) passed(t *target, v *view) (out []*file) {
	for _, f := range v.loaded {
		mapped := slices.ContainsFunc(v.open, func(o openFile) bool { return o.file == f && o.module != nil })
		if !mapped && !w.covers(t, f) {
			out = append(out, f)
		}
	}
	return out
}

// covers reports whether probes are in a file that a process, which may have ended,
// has loaded.
func (w *watcher) covers(t *target, f *file) bool {
	reach := &w.shared
	if !w.cfg.Follow {
		if t == nil {
			return false
		}
		reach = &t.reach
	}
	return len(f.plan) > 0 && !slices.ContainsFunc(f.plan, func(p probe.Site) bool { return !reach.sites[p.ID] })
}

// tellPassed counts files that were gone before anybody looked, now that those with
// markers to trace are attached.
func (w *watcher) tellPassed(passed []*file, v *view) {
	for _, f := range passed {
		if len(f.plan) > 0 {
			w.shortfall.passed++
			w.plan.warnings.add(fmt.Sprintf("%s was loaded and unloaded before it could be looked at: its markers until then are missing, from now on they are traced%s",
				f.path, w.cfg.advice(TopicLibrary)))
		}
	}
	for _, name := range v.lost {
		w.tellLost(name)
	}
}

func (w *watcher) tellLost(name string) {
	w.shortfall.unread += w.plan.warnings.add(fmt.Sprintf("%s was loaded, and gone before it could be looked at: it is not known whether it has markers%s",
		name, w.cfg.advice(TopicLibrary)))
}

// endedWith counts what may have been missed of a process that ended, or is about
// to, before the libraries could be looked at that it had just loaded.
func (w *watcher) endedWith(c change) {
	t := w.targets[c.pid]
	foreign := w.foreign
	if t != nil {
		foreign = t.foreign
	}
	for _, name := range c.added.names {
		switch {
		case path.Base(name) == name:
		case foreign || !path.IsAbs(name):
			w.tellLost(name)
		default:
			w.endedWithFile(t, c.pid, name)
		}
	}
	if c.added.unnamed {
		w.shortfall.unnamed++
	}
}

func (w *watcher) endedWithFile(t *target, pid int, name string) {
	f, err := w.files.read(name, func() (*os.File, error) { return openPath(name) })
	switch {
	case errors.Is(err, usdt.ErrNotELF), errors.Is(err, usdt.ErrUnsupportedELF):
		return
	case err != nil:
		w.tellLost(name)
		return
	}
	f.handle.Close()
	if !w.plan.traces(f.file) || w.covers(t, f.file) {
		return
	}
	w.shortfall.passed++
	w.plan.warnings.add(fmt.Sprintf("%s was loaded by a process that ended before it could be looked at (%d was the first): its markers there are missing%s",
		name, pid, w.cfg.advice(TopicLibrary)))
}

// traces reports whether pairs of a file would be traced if a process had it alone.
func (c *plan) traces(f *file) bool {
	return slices.ContainsFunc(usdt.Choose(f.elf.Sites, c.cfg.Pairs), func(ch usdt.Choice) bool {
		return ch.Chosen && c.mode.refuses(ch.Pair) == nil
	})
}

// shares notes whether the same names mean the same files to a process and to us.
func (w *watcher) shares(t *target, proc *process.Process) {
	same, err := proc.SharesFiles()
	t.foreign = !same && err == nil
	w.foreign = w.foreign || t.foreign
}
