// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Who names a launcher, or a server that works in children, sees nothing of their
// phases unless children are followed. offspring looks for such children.
type offspring struct {
	cfg    *Config
	looker *looker
	report *reporter
}

// children is what is known of the children of a target that are not traced.
type children struct {
	marked int // that have markers: the most that were seen
	wait   int // sweeps until the next look
	pause  int // and between looks after that
}

const (
	// offspringTime bounds the looks at the children of one process, and
	// maxOffspring how many are looked at.
	offspringTime = 300 * time.Millisecond
	maxOffspring  = 256
	// maxPause bounds the sweeps between looks: each reads the list of processes.
	maxPause = 32
)

func (w *watcher) offspring() *offspring { return &offspring{w.cfg, w.looker, w.report} }

// look tells, once, of children of a target that have markers and are not traced.
func (o *offspring) look(ctx context.Context, t *target) {
	c := &t.children
	if o.cfg.Follow || t.proc == nil || t.launched || c.marked > 0 {
		return
	}
	if c.wait > 0 {
		c.wait--
		return
	}
	c.pause = min(max(2*c.pause, 1), maxPause)
	c.wait = c.pause
	if c.marked = o.marked(ctx, t.proc); c.marked > 0 {
		o.report.say("%s of process %d %s markers and %s not traced%s", childCount(c.marked), t.pid,
			verb(c.marked, "has", "have"), verb(c.marked, "is", "are"), o.cfg.advice(TopicChildren))
	}
}

// note is about the children of a target, if any have markers.
func (o *offspring) note(t *target) (stream.Note, bool) {
	if t.children.marked == 0 {
		return stream.Note{}, false
	}
	return stream.Note{What: fmt.Sprintf("%s of process %d had markers and %s not traced%s", childCount(t.children.marked), t.pid,
		verb(t.children.marked, "was", "were"), o.cfg.advice(TopicChildren))}, true
}

// notesOfChildren names, for the summary, the children that were not traced.
func (w *watcher) notesOfChildren() []stream.Note {
	out, o := slices.Clone(w.childNotes), w.offspring()
	for _, t := range w.targets.inOrder() {
		if n, ok := o.note(t); ok {
			out = append(out, n)
		}
	}
	return out
}

func childCount(n int) string {
	if n == 1 {
		return "1 child"
	}
	return fmt.Sprintf("%d children", n)
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// marked counts the descendants of a process that would be traced if they were
// followed. It gives up when it takes too long.
func (o *offspring) marked(ctx context.Context, p *process.Process) (n int) {
	if !p.HasChildren() {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, offspringTime)
	defer cancel()
	below, err := process.Descendants(p.PID)
	if err != nil {
		return 0 // it has ended
	}
	mine, known := ownLine(), make(map[string]bool)
	for _, pid := range below[:min(len(below), maxOffspring)] {
		if ctx.Err() != nil {
			break
		}
		if !mine[pid] && o.hasMarkers(ctx, pid, known) {
			n++
		}
	}
	return n
}

// hasMarkers reports whether a process would be traced. known has the answers for
// the sets of files that have been looked at.
func (o *offspring) hasMarkers(ctx context.Context, pid int, known map[string]bool) bool {
	proc, err := process.Open(pid)
	if err != nil {
		return false
	}
	defer proc.Close()
	v, err := o.looker.look(ctx, request{proc: proc})
	if err != nil {
		return false
	}
	defer v.close()
	key := strings.Join(v.names, "\x00")
	is, ok := known[key]
	if !ok {
		is = slices.ContainsFunc(usdt.Choose(sitesOf(v.open).sites, o.cfg.Pairs), func(c usdt.Choice) bool { return c.Chosen })
		known[key] = is
	}
	return is
}
