// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
)

// wanted are the executables of which every process is traced, Config.Executables.
// The kernel makes targets of those that begin to run one, before they do, by its inode
// number. Whether the file is the one that was meant is seen when they are looked at.
type wanted struct {
	paths  []string
	inodes map[uint64]bool // that the kernel knows
}

// files are the files as they are now: an upgrade of a program is another file.
func (x *wanted) files() (out []os.FileInfo) {
	for _, path := range x.paths {
		if st, err := os.Stat(path); err == nil {
			out = append(out, st)
		}
	}
	return out
}

// tell tells the kernel of files that it does not know.
func (x *wanted) tell(tracer *loader.Tracer, files []os.FileInfo) error {
	for _, f := range files {
		st, ok := f.Sys().(*syscall.Stat_t)
		if !ok || x.inodes[st.Ino] {
			continue
		}
		if err := tracer.Want(st.Ino); err != nil {
			return err
		}
		x.inodes[st.Ino] = true
	}
	return nil
}

// AddRunning adds the processes that run one of Config.Executables, with their
// children, and returns how many there were to add. Those that begin to later come by
// themselves, once one has been added.
func (s *Session) AddRunning(ctx context.Context) (n int, err error) {
	w := s.watcher
	err = s.bounded(ctx, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		defer w.report.flush()
		n, err = w.addRunning(ctx)
		return err
	})
	return n, err
}

func (w *watcher) addRunning(ctx context.Context) (n int, err error) {
	files := w.wanted.files()
	running, err := process.WhoRuns(files)
	if err != nil || len(running) == 0 && w.tracer == nil {
		return 0, err
	}
	if err := w.load(); err != nil {
		return 0, err
	}
	if err := w.wanted.tell(w.tracer, files); err != nil {
		return 0, err
	}
	// Who came since the first look is either among these, or the kernel has told.
	if running, err = process.WhoRuns(files); err != nil {
		return 0, err
	}
	mine := ownLine()
	for _, pid := range running {
		if w.targets.byPID[pid] != nil || mine[pid] {
			continue
		}
		switch err := w.add(ctx, Target{PID: pid}); {
		case errors.Is(err, process.ErrNoProcess), errors.Is(err, process.ErrZombie):
		case err != nil:
			return n, err
		default:
			n++
		}
	}
	return n, nil
}

// lookForRunning notices an upgrade of a wanted executable, and processes of it of
// which the kernel has not told.
func (w *watcher) lookForRunning() {
	if len(w.wanted.paths) == 0 {
		return
	}
	files := w.wanted.files()
	if err := w.wanted.tell(w.tracer, files); err != nil {
		w.report.warn(err.Error())
		return
	}
	running, err := process.WhoRuns(files)
	if err != nil {
		return
	}
	mine := ownLine()
	for _, pid := range running {
		if _, known := w.core.process(pid); known || mine[pid] || w.targets.byPID[pid] != nil {
			continue
		}
		if adopted, err := w.follower.adoptChild(w.ctx, pid); err != nil || !adopted {
			w.follower.warnOf(pid, err)
			continue
		}
		w.report.say("process %d was noticed up to %v after it began to run %s: its markers before that are missing", pid, sweepInterval, list(w.wanted.paths))
		w.follower.warnOf(pid, w.follower.adopt(w.ctx, pid))
	}
}

// stranger reports whether a process that has run another program was made a target
// for its inode number alone, which a file on another file system has too, and lets go
// of it.
func (fl *follower) stranger(c change) bool {
	if len(fl.wanted.paths) == 0 || !c.exec || fl.targets.byPID[c.pid] != nil {
		return false
	}
	p, known := fl.core.process(c.pid)
	if !known || p.Parent != 0 || process.Runs(c.pid, fl.wanted.files()) {
		return false
	}
	if err := fl.tracer.RemoveTarget(c.pid); err != nil {
		fl.warnOf(c.pid, err)
	}
	fl.core.endSoon(ending{pid: c.pid, started: p.StartTime, at: clock.Monotonic(), removed: true})
	fl.warnOf(c.pid, fl.holds.letRun(c, false))
	return true
}

func newWanted(cfg *Config) (*wanted, error) {
	for _, path := range cfg.Executables {
		st, err := os.Stat(path)
		if err == nil && !st.Mode().IsRegular() {
			err = fmt.Errorf("%s: no file of a program", path)
		}
		if err != nil {
			return nil, err
		}
	}
	return &wanted{paths: cfg.Executables, inodes: make(map[uint64]bool)}, nil
}
