// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// outlook says what a session traces, what it leaves off, and what it waits for.
type outlook struct {
	cfg     *Config
	plan    *plan
	targets *targets
}

func (w *watcher) outlook() *outlook { return &outlook{w.cfg, w.plan, w.targets} }

// attachedMessage says what has been attached, and what is waited for.
func (w *watcher) attachedMessage() string {
	o := w.outlook()
	var attached, waiting []string
	for _, p := range w.core.processes() {
		who := fmt.Sprintf("%s (pid %d)", cmp.Or(p.Title, p.Comm), p.PID)
		if t := w.targets.byPID[p.PID]; t != nil && o.tracesAny(t) {
			attached = append(attached, who)
		} else {
			waiting = append(waiting, who)
		}
	}
	misfits := o.misfits()
	if len(attached) == 0 {
		return fmt.Sprintf("watching %s: %s", list(waiting), o.nothingYet(misfits))
	}
	files, sites := w.attacher.attachedNow()
	text := fmt.Sprintf("attached to %s: %s, %s in %s, in %d ms", list(attached),
		count(len(w.plan.pairs), "pair"), count(sites, "site"), count(files, "file"), elapsed(w.loaded, clock.Monotonic()).Milliseconds())
	if len(misfits) > 0 {
		text += "; " + list(misfits)
	}
	if len(waiting) > 0 {
		text += fmt.Sprintf("; watching %s, with nothing to attach to yet%s", list(waiting), w.cfg.advice(TopicLibrary))
	}
	return text
}

// tracesAny reports whether sites of a process are attached.
func (o *outlook) tracesAny(t *target) bool {
	for f := range t.files {
		if slices.ContainsFunc(f.plan, func(s probe.Site) bool { return o.plan.sites[s.ID].attached }) {
			return true
		}
	}
	return false
}

// nothingYet says why nothing is attached, and what is waited for.
func (o *outlook) nothingYet(misfits []string) string {
	if len(o.plan.sites) > 0 {
		return "nothing to attach to yet" // it is too early for what there is
	}
	why := "no USDT markers yet"
	switch {
	case len(misfits) > 0:
		why = misfits[0]
		if n := len(misfits) - 1; n > 0 {
			why += fmt.Sprintf(", and %s more that fit nothing yet", count(n, "pair"))
		}
	case slices.ContainsFunc(o.targets.inOrder(), func(t *target) bool { return len(t.files) > 0 }):
		why = "nothing there is traced by default"
	}
	later := "libraries that are loaded later"
	if o.cfg.Follow {
		later += ", and for other programs"
	}
	if strings.HasSuffix(why, "?") {
		why += " Waiting for "
	} else {
		why += "; waiting for "
	}
	return why + later + o.cfg.advice(TopicLibrary)
}

// misfits says of each pair that was asked for, and that fits nothing yet, what it
// lacks.
func (o *outlook) misfits() (out []string) {
	targets := o.targets.inOrder()
	for _, spec := range o.cfg.Pairs {
		id := spec.String()
		if len(targets) == 0 || o.plan.asked.fitted[id] {
			continue
		}
		for _, ch := range o.choices(targets[0]) {
			if ch.Asked == id {
				out = append(out, fmt.Sprintf("pair %s: %s", id, ch.Why))
				break
			}
		}
	}
	return out
}

// unknownNames returns an error about a name that was asked for and that no pair has.
func (o *outlook) unknownNames() error {
	var sites []usdt.Site
	for _, t := range o.targets.inOrder() {
		for f := range t.files {
			sites = append(sites, f.elf.Sites...)
		}
	}
	return o.plan.asked.unknown(o.cfg.Pairs, sites, o.cfg.Follow)
}

// inOrder returns the targets by PID.
func (ts *targets) inOrder() []*target {
	var out []*target
	for _, t := range ts.byPID {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *target) int { return cmp.Compare(a.pid, b.pid) })
	return out
}

// choices are the pairs that the files of a process could form.
func (o *outlook) choices(t *target) []usdt.Choice {
	var sites []usdt.Site
	for f := range t.files {
		sites = append(sites, f.elf.Sites...)
	}
	return usdt.Choose(sites, o.cfg.Pairs)
}

// off counts the pairs of the targets that are traced only when they are asked for,
// where others are traced: what a process has instead of any is told by itself.
func (o *outlook) off() (out Off) {
	if len(o.plan.pairs) == 0 {
		return Off{}
	}
	seen := make(map[string]bool)
	for _, t := range o.targets.inOrder() {
		for _, ch := range o.choices(t) {
			id := ch.Pair.String()
			if !ch.OnDemand || seen[id] || o.plan.bySpec[identity(ch.Pair)] != nil {
				continue
			}
			seen[id] = true
			if out.PID == 0 {
				out.PID = t.pid
			}
			if out.PID == t.pid {
				out.Files = append(out.Files, filesWith(t, ch.Pair)...)
			}
		}
	}
	out.Pairs = len(seen)
	slices.Sort(out.Files)
	out.Files = slices.Compact(out.Files)
	return out
}

// filesWith are the files of a process that have the enter of a pair.
func filesWith(t *target, p usdt.PairSpec) (out []string) {
	for f := range t.files {
		if slices.ContainsFunc(f.elf.Sites, func(s usdt.Site) bool { return s.Provider == p.Provider && s.Name == p.Enter }) {
			out = append(out, f.path)
		}
	}
	return out
}

// tellForks tells, once of each, that a program which was started for us has
// children: they are not traced.
func (ts *targets) tellForks(rp *reporter) {
	if ts.follow {
		return
	}
	for _, t := range ts.byPID {
		if !t.launched || t.forked || !t.proc.HasChildren() {
			continue
		}
		t.forked = true
		rp.say("process %d has started others, which are not traced%s", t.pid, rp.advice(TopicChildren))
	}
}

// lateLibrary counts libraries that were attached so long after they were mapped,
// and says so.
func (rp *reporter) lateLibrary(paths []string, after time.Duration) string {
	rp.shortfall.lateLibraries.add(after, paths...)
	return fmt.Sprintf("%v after a library was mapped: markers of %s before that are missing%s",
		roundTime(after), list(paths), rp.advice(TopicLibrary))
}

// attachedOften counts how often each file of a view has been attached for a process.
func (ts *targets) attachedOften(t *target, v *view) map[*file]int {
	reach, _ := ts.reachOf(t)
	often := make(map[*file]int)
	for _, f := range v.open {
		often[f.file] = len(reach.files[f.file])
	}
	return often
}

// attachedSince names the files of a view that have been attached since then.
func (ts *targets) attachedSince(t *target, v *view, before map[*file]int) (paths []string) {
	for f, n := range ts.attachedOften(t, v) {
		if n > before[f] {
			paths = append(paths, f.path)
		}
	}
	return paths
}
