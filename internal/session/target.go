// SPDX-License-Identifier: Apache-2.0

package session

import (
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/loader"
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
	counters counters
}

// reach is what probes cover so far: of one process, or with Config.Follow of
// every process there is and will be.
type reach struct {
	files   map[*file][]*loader.Attachment
	sites   map[uint32]bool // that are attached, or could not be
	bare    map[uint32]bool // of them: those whose markers' counters are not raised there
	linkers map[fileKey]hook
}

func newReach() reach {
	return reach{
		files: make(map[*file][]*loader.Attachment), sites: make(map[uint32]bool), bare: make(map[uint32]bool),
		linkers: make(map[fileKey]hook),
	}
}

// reachOf returns what already covers a process, and the PID to attach with:
// 0 for every process that maps the file. With Follow a probe must be in place
// before a child that will hit it exists, so there is one for all; the
// programs then look at the set of targets.
func (w *watcher) reachOf(t *target) (*reach, int) {
	if w.cfg.Follow {
		return &w.shared, 0
	}
	return &t.reach, t.pid
}

// watchEnd notices the end of a process that the user named.
func (w *watcher) watchEnd(t *target) {
	proc, started := t.proc, t.proc.StartTime
	go func() {
		if proc.Wait(w.ctx) == nil {
			w.core.endSoon(ending{pid: t.pid, started: started, at: clock.Monotonic()})
		}
	}()
}

// release removes what is attached for a process alone, and lets go of the files
// that only it used.
func (w *watcher) release(t *target) {
	w.detachAll(t)
	for f := range t.files {
		w.leave(f)
	}
	t.files = nil
	if t.proc != nil {
		t.proc.Close()
	}
}

// detachAll removes what is attached for a process alone.
func (w *watcher) detachAll(t *target) {
	for f, attachments := range t.reach.files {
		w.detach(f, attachments)
	}
	for _, h := range t.reach.linkers {
		w.unhook(h)
	}
	t.reach = newReach()
}

// detach removes attachments of a file.
func (w *watcher) detach(f *file, attachments []*loader.Attachment) {
	if len(attachments) > 0 {
		w.settleLast(f)
	}
	for _, at := range attachments {
		w.tracer.Release(at, func() {
			w.inbox.post(func() {
				f.attachments--
				if g := f.guard.Load(); g != nil {
					g.removed(at)
					w.unguard(f, g)
				}
				w.retireUnused(f)
			})
		})
	}
}

// use notes that a process uses a file.
func (w *watcher) use(t *target, f *file) {
	if t.files == nil {
		t.files = make(map[*file]bool)
	}
	if !t.files[f] {
		t.files[f] = true
		f.users++
	}
}

// leave notes that a process no longer uses a file.
func (w *watcher) leave(f *file) {
	if f.users--; f.users > 0 {
		return
	}
	f.idle = clock.Monotonic()
	if w.cfg.Follow {
		w.idle = append(w.idle, f) // the next process that runs it finds it attached
		return
	}
	w.retireUnused(f)
}
