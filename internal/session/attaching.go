// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
)

// attachTo plans and attaches what a look has found and what is not attached for
// the process yet.
func (w *watcher) attachTo(t *target, v *view) error {
	t.modules, t.unread = v.modules, len(v.skipped)
	w.warnUnread(t, v)
	pairs, err := w.plan.add(v.open)
	if err != nil {
		return err
	}
	if len(pairs) == 0 {
		w.tellLeftOff(v.open)
	}
	t.counters.looked = v.at
	postponed := false
	for _, f := range v.open {
		w.use(t, f.file)
		if f.module != nil {
			f.semaphores.mapped = mappedID{f.module.Dev, f.module.Inode}
		}
		early, err := w.attachFile(t, f, pairs)
		if errors.Is(err, errLater) {
			v.later = true
			continue
		}
		if err != nil {
			return err
		}
		postponed = postponed || early
	}
	w.settle(t, v, postponed)
	w.leaveOld(t, v)
	w.watchLibraries(t, v)
	return nil
}

// leaveOld lets go of the files of the program that a process ran before exec.
// A library that was unloaded stays attached: it may be loaded again, and be
// inside a phase, while the probes are being removed.
func (w *watcher) leaveOld(t *target, v *view) {
	if !v.starting || len(v.unread) > 0 {
		return
	}
	for f := range t.files {
		if slices.ContainsFunc(v.open, func(o openFile) bool { return o.file == f }) || f.pinned {
			continue
		}
		for _, p := range f.plan {
			delete(t.reach.sites, p.ID)
		}
		w.detach(f, t.reach.files[f]) // nothing with Follow: what is attached is for all
		delete(t.reach.files, f)
		delete(t.files, f)
		w.leave(f)
	}
}

// warnUnread warns, once, of files of a living process whose markers, if they
// have any, are not traced.
func (w *watcher) warnUnread(t *target, v *view) {
	if v.cut {
		w.plan.warnings.add(fmt.Sprintf("process %d has more files mapped than are looked at: markers in the rest are not traced", t.pid))
	}
	w.plan.warnings.add(v.late...)
	if len(v.unread) > 0 {
		w.shortfall.unread += w.plan.warnings.add(v.unread...)
	}
}

// wants reports whether pairs use a site.
func (w *watcher) wants(pairs []*pair, id uint32) bool {
	s := w.plan.sites[id]
	return slices.ContainsFunc(pairs, func(p *pair) bool { return s.pair == p || slices.Contains(s.over, p) })
}

// attachFile attaches the sites of a file that pairs use. postponed: the process
// has it mapped, but it is too early.
func (w *watcher) attachFile(t *target, f openFile, pairs []*pair) (postponed bool, err error) {
	reach, pid := w.reachOf(t)
	var todo []probe.Site
	for _, p := range f.plan {
		if !reach.sites[p.ID] && w.wants(pairs, p.ID) {
			todo = append(todo, p)
		}
	}
	if len(todo) == 0 {
		return false, nil
	}
	g, err := w.secure(t, f, pid)
	if err != nil {
		return false, err
	}
	defer w.unguard(f.file, g)
	f.guard.Store(g)
	if f.semaphores.shadowed {
		w.watchStart(f)
	}
	if t.counters.ahead[f.file] {
		return true, nil
	}
	if !f.raisable(todo) {
		return w.postpone(t, f, todo)
	}
	for _, p := range todo {
		reach.sites[p.ID] = true
	}
	w.warnMoved(t, f, todo)
	w.warnSlow(f.file, len(todo))
	w.core.attaching(todo)
	var failed []loader.SiteError
	at, err := g.attach(todo, func() (at *loader.Attachment, err error) {
		at, failed, err = w.tracer.Attach(pid, f.attachPath(), todo)
		return at, err
	})
	if err != nil {
		w.core.attached(pid, todo)
		if errors.Is(err, errGivenWay) { // what comes of that drops the sites
			return false, errLater
		}
		w.attached.untold += len(todo) // the error tells of all
		return false, err
	}
	reach.files[f.file] = append(reach.files[f.file], at)
	f.attachments++
	for _, e := range failed {
		reach.bare[e.Site] = true
	}
	failed = append(failed, w.uncounted(reach, f.file, at.Uncounted())...)
	f.semaphores.attached(todo, reach.bare)
	f.tellGuard()
	return false, w.attachedSites(pid, f.file, todo, failed)
}

// warnMoved warns of sites that cannot fire in a process: their code is not what
// it runs any more.
func (w *watcher) warnMoved(t *target, f openFile, sites []probe.Site) {
	if f.module == nil {
		return // it is not mapped yet
	}
	moved := 0
	for _, s := range sites {
		if !slices.ContainsFunc(f.module.Mappings, func(m process.Mapping) bool {
			return m.Executable() && s.Offset >= m.Offset && s.Offset-m.Offset < m.End-m.Start
		}) {
			moved++
		}
	}
	if moved > 0 {
		w.plan.warnings.add(fmt.Sprintf("%s of %s cannot fire in process %d: it has moved that code to other memory, such as huge pages",
			count(moved, "site"), f.path, t.pid))
	}
}

// uncounted warns of sites that another tracer's probes share, and returns those
// whose markers stay disabled: as long as that tracer does not enable them they
// are as good as not attached, and nobody is to be blamed for that.
func (w *watcher) uncounted(reach *reach, f *file, sites []loader.Uncounted) (dead []loader.SiteError) {
	counter := make(map[uint32]uint64)
	for _, p := range f.plan {
		counter[p.ID] = p.RefCtr
	}
	for _, u := range sites {
		reach.bare[u.Site] = true
	}
	for _, u := range sites {
		raised := slices.ContainsFunc(f.plan, func(p probe.Site) bool {
			return p.RefCtr == counter[u.Site] && reach.sites[p.ID] && !reach.bare[p.ID]
		})
		if !raised {
			dead = append(dead, loader.SiteError{Site: u.Site, Err: fmt.Errorf(
				"%s has a probe here that does not enable the marker, and keeps others from enabling it: it does not fire unless that tracer sees to it; end that tracer and start again", u.By)})
			continue
		}
		s := w.plan.sites[u.Site]
		w.plan.warnings.add(fmt.Sprintf("%s:%s at %s+%#x: %s has a probe here that does not enable the marker; it fires while it is attached at another place, too",
			s.Provider, s.Probe, f.path, s.Offset, u.By))
	}
	return dead
}

// attachedSites records what has been attached.
func (w *watcher) attachedSites(pid int, f *file, sites []probe.Site, failed []loader.SiteError) error {
	now, boot := w.core.attached(pid, sites)
	bad := make(map[uint32]bool)
	for _, e := range failed {
		bad[e.Site] = true
		s := w.plan.sites[e.Site]
		w.notAttached(fmt.Sprintf("%s:%s at %s+%#x: %v", s.Provider, s.Probe, f.path, s.Offset, e.Err))
		if errors.Is(e.Err, loader.ErrPermission) {
			return e.Err
		}
	}
	for _, p := range sites {
		if s := w.plan.sites[p.ID]; !bad[p.ID] {
			s.attached, s.gate, s.since = true, now, boot
		}
	}
	w.core.enters(w.plan.enters(sites))
	w.attached.sites += len(sites) - len(failed)
	return w.mode.sitesChanged(&w.plan)
}

// notAttached notes a site that could not be attached, and warns of it. The same
// site of another process is no news.
func (w *watcher) notAttached(what string) {
	w.plan.warnings.add(what)
	switch {
	case w.attached.failures[what]:
	case len(w.attached.failures) < maxWarnings:
		w.attached.failures[what] = true
	default:
		w.attached.untold++
	}
}

// attachedNow counts the files that are attached, and the sites in them, each
// once for however many processes.
func (w *watcher) attachedNow() (files, sites int) {
	seen := make(map[*file]bool)
	for _, t := range w.targets {
		for f := range t.files {
			if seen[f] {
				continue
			}
			seen[f] = true
			before := sites
			for _, s := range f.plan {
				if w.plan.sites[s.ID].attached {
					sites++
				}
			}
			if sites > before {
				files++
			}
		}
	}
	return files, sites
}
