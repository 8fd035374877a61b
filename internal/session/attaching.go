// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
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
	for _, f := range v.open {
		w.use(t, f.file)
		err := w.attachFile(t, f, pairs)
		if errors.Is(err, errLater) {
			v.later = true
			continue
		}
		if err != nil {
			return err
		}
	}
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

// attachFile attaches the sites of a file that pairs use.
func (w *watcher) attachFile(t *target, f openFile, pairs []*pair) error {
	reach, pid := w.reachOf(t)
	var todo []probe.Site
	for _, p := range f.plan {
		if !reach.sites[p.ID] && w.wants(pairs, p.ID) {
			todo = append(todo, p)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	g, err := w.secure(t, f, pid)
	if err != nil {
		return err
	}
	defer w.unguard(f.file, g)
	for _, p := range todo {
		reach.sites[p.ID] = true
	}
	f.guard.Store(g)
	w.core.attaching(todo)
	var failed []loader.SiteError
	at, err := g.attach(todo, func() (at *loader.Attachment, err error) {
		at, failed, err = w.tracer.Attach(pid, f.attachPath(), todo)
		return at, err
	})
	if err != nil {
		w.core.attached(pid, todo)
		if errors.Is(err, errGivenWay) { // what comes of that drops the sites
			return errLater
		}
		return err
	}
	reach.files[f.file] = append(reach.files[f.file], at)
	f.attachments++
	return w.attachedSites(pid, f.file, todo, failed)
}

// attachedSites books what has been attached.
func (w *watcher) attachedSites(pid int, f *file, sites []probe.Site, failed []loader.SiteError) error {
	now, boot := w.core.attached(pid, sites)
	bad := make(map[uint32]bool)
	for _, e := range failed {
		bad[e.Site] = true
		s := w.plan.sites[e.Site]
		w.attached.failures++
		w.attached.failed = append(w.attached.failed,
			fmt.Sprintf("%s:%s at %s+%#x: %v", s.Provider, s.Probe, f.path, s.Offset, e.Err))
		if errors.Is(e.Err, loader.ErrPermission) {
			return e.Err
		}
	}
	for _, p := range sites {
		if s := w.plan.sites[p.ID]; !bad[p.ID] {
			s.attached, s.gate, s.since = true, now, boot
		}
	}
	w.attached.sites += len(sites) - len(failed)
	w.attached.files++
	return w.mode.sitesChanged(&w.plan)
}
