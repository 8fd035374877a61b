// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"os"

	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// adopt makes the children that a target already has targets too. Children that
// are born meanwhile are told of by the kernel: their parent is a target. Who
// follows the shell that it was started from does not follow itself.
func (fl *follower) adopt(ctx context.Context, pid int) error {
	mine := ownLine()
	for found := true; found; {
		found = false
		below, err := process.Descendants(pid)
		if err != nil {
			return nil // it has ended; its handle tells
		}
		for _, child := range below {
			if fl.targets.byPID[child] != nil || mine[child] {
				continue
			}
			adopted, err := fl.adoptChild(ctx, child)
			if err != nil {
				return err
			}
			found = found || adopted
		}
	}
	return nil
}

// adoptChild makes one process a target; false: it is none of ours, or over.
func (fl *follower) adoptChild(ctx context.Context, pid int) (bool, error) {
	proc, err := process.Open(pid)
	if errors.Is(err, process.ErrKernelThread) {
		return false, nil
	}
	if err != nil {
		fl.warnOf(pid, fl.notLooked(err))
		return false, nil
	}
	defer proc.Close()
	v, err := fl.looker.look(ctx, request{proc: proc})
	if err != nil {
		fl.warnOf(pid, fl.notLooked(err))
		return false, ctx.Err()
	}
	defer v.close()
	t := &target{pid: pid, started: proc.StartTime, reach: newReach()}
	fl.targets.byPID[pid] = t
	fl.core.addProcess(processOf(proc, v), false)
	fl.costs.begun(proc.PID)
	if err := fl.tracer.AddTarget(pid); err != nil {
		return false, err
	}
	return true, fl.attacher.attachTo(t, v)
}

// processOf describes a process that a look has found.
func processOf(proc *process.Process, v *view) stream.Process {
	return stream.Process{
		PID: proc.PID, ContainerPID: v.who.ContainerPID, Comm: v.who.Comm, Exe: v.who.Exe, Title: v.who.Title,
		Rank: v.who.Rank, RankSource: v.who.RankSource, Parent: proc.Parent, StartTime: v.who.StartTime,
	}
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
