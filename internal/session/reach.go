// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/clock"

	"github.com/phasetrace/phasetrace/internal/process"
)

// reach is what probes cover so far: of one process, or with Follow of every
// process there is and will be.
type reach struct {
	sites   map[uint32]bool // that are attached, or could not be
	linkers map[fileID]bool // dynamic linkers that tell of new libraries
}

func newReach() reach {
	return reach{sites: make(map[uint32]bool), linkers: make(map[fileID]bool)}
}

// reachOf returns what already covers a process, and the PID to attach with:
// 0 for every process that maps the file. With Follow a probe must be in place
// before a child that will hit it exists, so there is one for all; the
// programs then look at the set of targets.
func (s *session) reachOf(t *attachee) (*reach, int) {
	if s.o.Follow {
		return &s.reach, 0
	}
	return &t.reach, t.proc.PID
}

// adopt makes the children that targets have already had targets too. Children
// that are born meanwhile are told of by the kernel: their parent is a target.
// Who follows the shell that it was started from does not follow itself.
func (s *session) adopt() error {
	mine := ownLine()
	for found := true; found; {
		found = false
		for _, pid := range s.pids() {
			below, err := process.Descendants(pid)
			if err != nil {
				continue // it has ended; its handle tells
			}
			for _, child := range below {
				if s.targets[child] != nil || mine[child] {
					continue
				}
				t, err := s.openTarget(child)
				if err != nil {
					continue // a kernel thread, or ended meanwhile
				}
				if err := s.tracer.AddTarget(child); err != nil {
					return err
				}
				if err := s.attachTo(t); err != nil {
					return err
				}
				found = true
			}
		}
	}
	return nil
}

// ownLine returns this process and those it descends from.
func ownLine() map[int]bool {
	line := make(map[int]bool)
	for pid := os.Getpid(); pid > 0 && !line[pid]; {
		line[pid] = true
		proc, err := process.Open(pid)
		if err != nil {
			break
		}
		pid = proc.Parent
		proc.Close()
	}
	return line
}

// pids returns the processes that the user named.
func (s *session) pids() []int {
	var out []int
	out = append(out, s.o.PIDs...)
	if s.o.Spawned != nil {
		out = append(out, s.o.Spawned.PID)
	}
	return out
}

// lookInterval is how often processes without a handle are looked for.
const lookInterval = time.Second

// childrenLeft reports whether a followed child lives. Normally the kernel
// tells of its end; should that record be lost, a look does: one that finds it
// gone, and another after everything has been read.
func (s *session) childrenLeft() bool {
	if len(s.engine.Processes()) == 0 {
		return false
	}
	now := clock.Monotonic()
	if now-s.looked < int64(lookInterval) {
		return true
	}
	s.looked = now
	gone := make(map[*stream.Process]bool)
	for _, p := range s.engine.Processes() {
		proc, err := process.Open(p.PID)
		if err == nil {
			proc.Close()
		}
		switch {
		case !errors.Is(err, process.ErrNoProcess):
		case !s.missed[p] || !s.drained:
			gone[p] = true
		default:
			s.engine.Begin()
			s.engine.ProcessGone(p.PID, p.StartTime, now)
			s.engine.End()
		}
	}
	s.missed = gone
	return len(s.engine.Processes()) > 0
}

// late counts files that were attached after they had been mapped.
type late struct {
	times int
	worst time.Duration
}

func (l *late) add(d time.Duration) {
	l.times++
	l.worst = max(l.worst, d)
}

// lateNotes tells what may have been missed.
func (s *session) lateNotes() []stream.Note {
	var out []stream.Note
	for _, n := range []struct {
		l    late
		what string
	}{{s.lateExecs, "programs run by exec"}, {s.lateLibraries, "libraries loaded while tracing"}} {
		if n.l.times > 0 {
			out = append(out, stream.Note{
				What:  fmt.Sprintf("%s that were attached up to %v after they were mapped: their markers before are missing", n.what, roundTime(n.l.worst)),
				Count: uint64(n.l.times),
			})
		}
	}
	if s.missedExecs > 0 {
		out = append(out, stream.Note{What: "programs run by exec that ended before they could be looked at", Count: s.missedExecs})
	}
	return out
}

// roundTime leaves what a person can use.
func roundTime(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
