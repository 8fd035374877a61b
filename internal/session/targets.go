// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
)

// target is a process whose files are attached to.
type target struct {
	pid int
	// proc is a handle on the process, kept for those that the user named; nil for
	// followed ones, of which there can be many.
	proc    *process.Process
	started uint64 // process.Process.StartTime
	reach   reach  // what is attached for it alone
	modules []process.Module
	files   map[*file]bool // with sites, that it uses
	unread  int            // files that the last look could not read
	execDue bool           // a look has shown another program, whose exec no event has told of
	foreign bool           // the same names mean other files to it than to us
	direct  bool           // its executable is a dynamic linker, which was told what to run
	// spawning: it is held until Run.
	spawning bool
	launched bool // it was started for us
	// forked: that it has children has been told.
	forked   bool
	children children
	counters counters
	retry    *change // of a look that took too long, nil for none
}

// use notes that a process uses a file.
func (t *target) use(f *file) {
	if t.files == nil {
		t.files = make(map[*file]bool)
	}
	if !t.files[f] {
		t.files[f] = true
		f.users++
	}
}

// reach is what probes cover so far: of one process, or with Config.Follow of
// every process there is and will be.
type reach struct {
	files   map[*file][]*loader.Attachment
	sites   map[uint32]bool // that are attached, or could not be
	bare    map[uint32]bool // of them: those whose markers' counters are not raised there
	linkers map[fileKey]hook
	// With a budget: what is attached, by pair, and the sites that are left out.
	groups []group
	out    map[uint32]bool
}

func newReach() reach {
	return reach{
		files: make(map[*file][]*loader.Attachment), sites: make(map[uint32]bool), bare: make(map[uint32]bool),
		linkers: make(map[fileKey]hook), out: make(map[uint32]bool),
	}
}

// targets are the processes that are traced, and what is attached for all of them.
type targets struct {
	follow bool
	byPID  map[int]*target
	shared reach // with follow: of every process
}

// reachOf returns what already covers a process, and the PID to attach with:
// 0 for every process that maps the file. With Follow a probe must be in place
// before a child that will hit it exists, so there is one for all; the
// programs then look at the set of targets.
func (ts *targets) reachOf(t *target) (*reach, int) {
	if ts.follow {
		return &ts.shared, 0
	}
	return &t.reach, t.pid
}

// filesOf returns what is known, and not let go of, under a key.
func (ts *targets) filesOf(key fileKey) (all []*file) {
	add := func(f *file) {
		if f.key == key && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	for _, t := range ts.byPID {
		for f := range t.files {
			add(f)
		}
		for f := range t.reach.files {
			add(f)
		}
	}
	for f := range ts.shared.files {
		add(f)
	}
	return all
}

// covers reports whether probes are in a file that a process, which may have ended,
// has loaded.
func (ts *targets) covers(t *target, f *file) bool {
	reach := &ts.shared
	if !ts.follow {
		if t == nil {
			return false
		}
		reach = &t.reach
	}
	return len(f.plan) > 0 && !slices.ContainsFunc(f.plan, func(p probe.Site) bool { return !reach.sites[p.ID] && !reach.out[p.ID] })
}

// coversNamesake reports whether probes are in another file of the same name, which
// a process has loaded.
func (ts *targets) coversNamesake(t *target, f *file) bool {
	for other := range t.files {
		if other != f && other.path == f.path && ts.covers(t, other) {
			return true
		}
	}
	return false
}

// allFiles returns every file that a target uses or that probes are in.
func (ts *targets) allFiles() map[*file]bool {
	all := ts.attached()
	for _, t := range ts.byPID {
		for f := range t.files {
			all[f] = true
		}
	}
	return all
}

// attached returns every file that probes are in.
func (ts *targets) attached() map[*file]bool {
	all := make(map[*file]bool)
	for f := range ts.shared.files {
		all[f] = true
	}
	for _, t := range ts.byPID {
		for f := range t.reach.files {
			all[f] = true
		}
	}
	return all
}
