// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"maps"
	"slices"
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
	// titleTime bounds the reading of one title: the kernel reads it from the memory
	// of the process, which can be kept back. Then it is left behind, and a process is
	// not asked any more after maxTitleVain times, nobody while there are maxTitlesLeft
	// calls, of whatever kind, that were left behind. It takes some 6 µs otherwise.
	titleTime     = 20 * time.Millisecond
	maxTitleVain  = 2
	maxTitlesLeft = 4
	// titlesTime bounds the reading of all in one interval.
	titlesTime = 10 * time.Millisecond
)

// titleReader reads the titles of the traced processes, which change without anybody
// telling. It belongs to the watcher's goroutine and holds no lock while it reads.
type titleReader struct {
	core  *core
	round int
	known map[int]*titleState // by PID
	next  int                 // the PID to begin with
}

// titleState is what is known of one process.
type titleState struct {
	started uint64 // stream.Process.StartTime
	age     int    // rounds that it has been known for
	seen    int    // the last round in which it was there
	due     bool
	vain    int // how often its memory did not answer; see maxTitleVain
}

// read reads the titles that are due, as many as there is time for; the others are read
// the next time, and go first then.
func (r *titleReader) read(ctx context.Context) {
	began := time.Now()
	r.round++
	processes := r.note()
	from, _ := slices.BinarySearchFunc(processes, r.next, func(p *stream.Process, pid int) int { return p.PID - pid })
	var changed []titled
	for i := range processes {
		p := processes[(from+i)%len(processes)]
		st := r.known[p.PID]
		if !st.due || st.vain >= maxTitleVain {
			continue
		}
		if time.Since(began) > titlesTime || await.Left() >= maxTitlesLeft {
			r.next = p.PID
			break
		}
		st.due = false
		if title, ok := r.readOne(ctx, p, st); ok && title != p.Title {
			changed = append(changed, titled{p.PID, p.StartTime, title, clock.Monotonic()})
		}
	}
	if len(changed) > 0 {
		r.core.titled(changed)
	}
}

// note notes which processes there are, by PID, and of which the title is due.
func (r *titleReader) note() []*stream.Process {
	if r.known == nil {
		r.known = make(map[int]*titleState)
	}
	processes := r.core.processes()
	for _, p := range processes {
		st := r.known[p.PID]
		if st == nil || st.started != p.StartTime && st.started != 0 {
			st = &titleState{}
			r.known[p.PID] = st
		}
		st.started = p.StartTime // not known before it has been described
		st.age++
		st.seen, st.due = r.round, st.due || st.age <= youth || r.round%titleSweep == 0
	}
	maps.DeleteFunc(r.known, func(_ int, st *titleState) bool { return st.seen != r.round })
	return processes
}

// readOne reads one title; false: nobody knows it.
func (r *titleReader) readOne(ctx context.Context, p *stream.Process, st *titleState) (string, bool) {
	one, cancel := context.WithTimeout(ctx, titleTime)
	defer cancel()
	title, err := await.Do(one, func(context.Context) (string, error) { return process.TitleOf(p.PID, p.Comm, p.Exe) }, nil)
	if err != nil {
		if one.Err() != nil {
			st.vain++
		}
		return "", false
	}
	return title, !process.Gone(p.PID, p.StartTime)
}
