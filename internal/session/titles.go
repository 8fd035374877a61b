// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"time"

	"github.com/phasetrace/phasetrace/internal/await"
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	// titleInterval is how often the titles of processes are read that have just
	// come: servers fork first and say what the child is for then. Those of others are
	// read once in titleSweep such times.
	titleInterval = 100 * time.Millisecond
	titleSweep    = 10
	// youth is how long a process counts as one that has just come.
	youth = 10
	// titleTime bounds the reading of one title, and titlesTime that of all at once:
	// the kernel reads them from the memory of processes.
	titleTime  = 20 * time.Millisecond
	titlesTime = 100 * time.Millisecond
)

// titleReader reads the titles of the traced processes, which change without anybody
// telling. It belongs to the watcher's goroutine and holds no lock while it reads.
type titleReader struct {
	core  *core
	round int
	known map[int]*titleState // by PID
}

// titleState is what is known of one process.
type titleState struct {
	started uint64 // stream.Process.StartTime
	title   string
	age     int  // rounds that it has been known for
	mute    bool // its memory did not answer: it is not asked again
	seen    bool // in this round
}

// read reads the titles that are due.
func (r *titleReader) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, titlesTime)
	defer cancel()
	if r.known == nil {
		r.known = make(map[int]*titleState)
	}
	r.round++
	all := r.round%titleSweep == 0
	var changed []titled
	for _, p := range r.core.processes() {
		st := r.known[p.PID]
		if st == nil || st.started != p.StartTime {
			st = &titleState{started: p.StartTime}
			r.known[p.PID] = st
		}
		st.seen, st.title = true, p.Title
		st.age++
		if st.mute || !all && st.age > youth || ctx.Err() != nil {
			continue
		}
		if title, ok := r.readOne(ctx, p, st); ok && title != p.Title {
			changed = append(changed, titled{p.PID, p.StartTime, title, clock.Monotonic()})
		}
	}
	for pid, st := range r.known {
		if !st.seen {
			delete(r.known, pid)
		}
		st.seen = false
	}
	if len(changed) > 0 {
		r.core.titled(changed)
	}
}

// readOne reads one title; false: nobody knows it.
func (r *titleReader) readOne(ctx context.Context, p *stream.Process, st *titleState) (string, bool) {
	one, cancel := context.WithTimeout(ctx, titleTime)
	defer cancel()
	title, err := await.Do(one, func(context.Context) (string, error) {
		title, err := process.TitleOf(p.PID, p.Comm, p.Exe)
		return title, err
	}, nil)
	if err != nil {
		st.mute = one.Err() != nil && ctx.Err() == nil
		return "", false
	}
	return title, !process.Gone(p.PID, p.StartTime)
}
