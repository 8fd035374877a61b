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

// attacher plans and attaches what looks have found.
type attacher struct {
	core     *core
	mode     mode
	plan     *plan
	files    *files
	tracer   *loader.Tracer
	report   *reporter
	targets  *targets
	keeper   *keeper
	settler  *settler
	hooks    *hooks
	releaser *releaser
	count    *attachedCount
	throttle *throttle // nil: no budget
}

// attachedCount sums up what has been attached.
type attachedCount struct {
	sites     int             // counted again for each process that they are attached for
	postponed int             // times that a file was not attached because it was too early
	failures  map[string]bool // sites that could not be attached, and why
	untold    int             // failures that are not in there
}

// attachTo plans and attaches what a look has found and what is not attached for
// the process yet.
func (a *attacher) attachTo(t *target, v *view) error {
	t.modules, t.unread = v.modules, len(v.skipped)
	a.warnUnread(t, v)
	pairs, err := a.plan.add(v.open)
	if err != nil {
		return err
	}
	if len(pairs) == 0 {
		a.plan.tellLeftOff(v.open)
	}
	t.counters.looked = v.at
	postponed := false
	for _, f := range v.open {
		t.use(f.file)
		if f.module != nil {
			f.semaphores.mapped = mappedID{f.module.Dev, f.module.Inode}
		}
		early, err := a.attachFile(t, f, pairs)
		if errors.Is(err, errLater) {
			v.later = true
			continue
		}
		if err != nil {
			return err
		}
		postponed = postponed || early
	}
	a.settler.settle(t, v, postponed)
	a.leaveOld(t, v)
	a.hooks.watchLibraries(t, v)
	return nil
}

// leaveOld lets go of the files of the program that a process ran before exec.
// A library that was unloaded stays attached: it may be loaded again, and be
// inside a phase, while the probes are being removed.
func (a *attacher) leaveOld(t *target, v *view) {
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
		a.releaser.detach(f, t.reach.files[f]) // nothing with Follow: what is attached is for all
		delete(t.reach.files, f)
		delete(t.files, f)
		a.releaser.leave(f)
	}
}

// warnUnread warns, once, of files of a living process whose markers, if they
// have any, are not traced.
func (a *attacher) warnUnread(t *target, v *view) {
	if v.cut {
		a.report.warn(fmt.Sprintf("process %d has more files mapped than are looked at: markers in the rest are not traced", t.pid))
	}
	a.report.warn(v.late...)
	if len(v.unread) > 0 {
		a.report.shortfall.unread += a.report.warn(v.unread...)
	}
}

// attachFile attaches the sites of a file that pairs use. postponed: the process
// has it mapped, but it is too early.
func (a *attacher) attachFile(t *target, f openFile, pairs []*pair) (postponed bool, err error) {
	reach, pid := a.targets.reachOf(t)
	todo := slices.DeleteFunc(slices.Clone(f.plan), func(p probe.Site) bool {
		if a.throttle.leavesOut(p.ID) {
			reach.out[p.ID] = true
			return true
		}
		return reach.sites[p.ID] || !a.plan.wants(pairs, p.ID)
	})
	if len(todo) == 0 {
		return false, nil
	}
	g, err := a.secure(t, f, pid)
	if err != nil {
		return false, err
	}
	defer a.keeper.unguard(f.file, g)
	f.guard.Store(g)
	if f.semaphores.shadowed {
		a.settler.watchStart(f)
	}
	if t.counters.ahead[f.file] {
		return true, nil
	}
	if !f.raisable(todo) {
		return a.settler.postpone(t, f, todo)
	}
	a.warnMoved(t, f, todo)
	a.keeper.warnSlow(f.file, len(todo))
	for i, c := 0, a.files.constantsOf(f); i < len(todo); i++ {
		todo[i].Constant = c
	}
	for _, together := range a.throttle.groups(todo) {
		if err := a.attachGuarded(reach, pid, f, g, together); err != nil {
			return false, err
		}
	}
	return false, nil
}

// attachGuarded attaches sites of a file that nobody can write to meanwhile.
func (a *attacher) attachGuarded(reach *reach, pid int, f openFile, g *guard, todo []probe.Site) error {
	for _, p := range todo {
		reach.sites[p.ID] = true
	}
	a.core.attaching(todo)
	var failed []loader.SiteError
	at, err := g.attach(todo, func() (at *loader.Attachment, err error) {
		at, failed, err = a.tracer.Attach(pid, f.attachPath(), todo)
		return at, err
	})
	if err != nil {
		a.core.attached(pid, todo)
		if errors.Is(err, errGivenWay) { // what comes of that drops the sites
			return errLater
		}
		a.count.untold += len(todo) // the error tells of all
		return err
	}
	reach.files[f.file] = append(reach.files[f.file], at)
	f.attachments++
	if a.throttle != nil {
		reach.groups = append(reach.groups, group{f.file, at, siteIDs(todo)})
	}
	for _, e := range failed {
		reach.bare[e.Site] = true
	}
	failed = append(failed, a.uncounted(reach, f.file, at.Uncounted())...)
	f.semaphores.attached(todo, reach.bare)
	f.tellGuard()
	return a.attachedSites(pid, f.file, todo, failed)
}

func siteIDs(sites []probe.Site) []uint32 {
	ids := make([]uint32, 0, len(sites))
	for i := range sites {
		ids = append(ids, sites[i].ID)
	}
	return ids
}

// warnMoved warns of sites that cannot fire in a process: their code is not what
// it runs any more.
func (a *attacher) warnMoved(t *target, f openFile, sites []probe.Site) {
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
		a.report.warn(fmt.Sprintf("%s of %s cannot fire in process %d: it has moved that code to other memory, such as huge pages",
			count(moved, "site"), f.path, t.pid))
	}
}

// uncounted warns of sites that another tracer's probes share, and returns those
// whose markers stay disabled: as long as that tracer does not enable them they
// are as good as not attached, and nobody is to be blamed for that.
func (a *attacher) uncounted(reach *reach, f *file, sites []loader.Uncounted) (dead []loader.SiteError) {
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
		s := a.plan.sites[u.Site]
		a.report.warn(fmt.Sprintf("%s:%s at %s+%#x: %s has a probe here that does not enable the marker; it fires while it is attached at another place, too",
			s.Provider, s.Probe, f.path, s.Offset, u.By))
	}
	return dead
}

// attachedSites records what has been attached.
func (a *attacher) attachedSites(pid int, f *file, sites []probe.Site, failed []loader.SiteError) error {
	now, boot := a.core.attached(pid, sites)
	bad := make(map[uint32]bool)
	for _, e := range failed {
		bad[e.Site] = true
		s := a.plan.sites[e.Site]
		a.notAttached(fmt.Sprintf("%s:%s at %s+%#x: %v", s.Provider, s.Probe, f.path, s.Offset, e.Err))
		if errors.Is(e.Err, loader.ErrPermission) {
			return e.Err
		}
	}
	for _, p := range sites {
		if s := a.plan.sites[p.ID]; !bad[p.ID] {
			s.attached, s.gate, s.since = true, now, boot
		}
	}
	a.core.enters(a.plan.enters(sites))
	a.count.sites += len(sites) - len(failed)
	return a.mode.sitesChanged(a.plan)
}

// notAttached notes a site that could not be attached, and warns of it. The same
// site of another process is no news.
func (a *attacher) notAttached(what string) {
	a.report.warn(what)
	switch {
	case a.count.failures[what]:
	case len(a.count.failures) < maxWarnings:
		a.count.failures[what] = true
	default:
		a.count.untold++
	}
}

// attachedNow counts the files that are attached, and the sites in them, each
// once for however many processes.
func (a *attacher) attachedNow() (files, sites int) {
	seen := make(map[*file]bool)
	for _, t := range a.targets.byPID {
		for f := range t.files {
			if seen[f] {
				continue
			}
			seen[f] = true
			before := sites
			for _, s := range f.plan {
				if a.plan.sites[s.ID].attached {
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
