// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/await"
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/semaphore"
)

// settler brings semaphores into agreement with breakpoints, and makes processes
// tell when a file is ready for its semaphores to be raised.
type settler struct {
	tracer  *loader.Tracer
	report  *reporter
	targets *targets
	holds   *holds
	keeper  *keeper
	count   *attachedCount
	post    func(func())  // to the watcher's goroutine
	again   func(*target) // looks at a process again
}

// settle brings the semaphores of a process's files into agreement with the
// breakpoints under their probes. postponed: files wait to be attached.
func (st *settler) settle(t *target, v *view, postponed bool) {
	c := &t.counters
	c.moved, c.passes, c.off = false, false, postponed
	again := postponed
	for _, f := range v.open {
		c.passes = c.passes || f.semaphores.shadowed && len(f.plan) > 0
		switch {
		case f.module == nil || !st.counts(t, f.file):
			continue
		case c.ahead[f.file]:
			again, c.off = true, true
			continue
		}
		r, err := settleFile(v.proc, f, false)
		c.moved = c.moved || r.Moved > 0
		switch {
		case err != nil:
			again = errors.Is(err, unix.EFAULT) || again // its mappings have changed meanwhile
			st.cannotSettle(v.proc, f, err)
		case r.State == semaphore.Elsewhere:
			st.awaitStart(t, f)
			again, c.off = true, true
		case r.Off > 0:
			st.tellOff(t, f, r.State)
		}
	}
	if !again {
		c.since = 0
		return
	}
	if c.since == 0 {
		c.since = clock.Monotonic()
	}
	st.lookAgainSoon(t)
}

// counts reports whether sites of a file with semaphores are attached for a
// process.
func (st *settler) counts(t *target, f *file) bool {
	reach, _ := st.targets.reachOf(t)
	return len(f.semaphores.sites) > 0 && slices.ContainsFunc(f.plan, func(p probe.Site) bool { return reach.sites[p.ID] })
}

// memoryTime bounds how long a process's memory is waited for: a program can
// make others wait that look into it.
const memoryTime = 200 * time.Millisecond

// promptly returns what f does, unless that takes longer than memoryTime.
func promptly[T any](f func() (T, error), drop func(T)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), memoryTime)
	defer cancel()
	return await.Do(ctx, func(context.Context) (T, error) { return f() }, drop)
}

// settleFile settles one file of a process, with mappings read just before.
func settleFile(proc *process.Process, f openFile, last bool) (semaphore.Result, error) {
	m, err := promptly(func() (process.Module, error) { return moduleOf(proc, f.file, f.module) }, nil)
	if err != nil || m.Mappings == nil {
		return semaphore.Result{}, err
	}
	f.semaphores.twice = f.semaphores.twice || m.Copies() > 1
	f.tellGuard()
	in := semaphore.File{
		Arch: f.elf.Arch, Sites: f.semaphores.counted(), Mappings: m.Mappings, Content: f.handle, Exact: f.semaphores.twice,
	}
	return promptly(func() (semaphore.Result, error) { return semaphore.Settle(proc, in, last) }, nil)
}

// moduleOf returns a file of a process as it is mapped now, the zero Module when
// it is not.
func moduleOf(proc *process.Process, f *file, seen *process.Module) (process.Module, error) {
	id := f.semaphores.mapped
	if seen != nil {
		id = mappedID{seen.Dev, seen.Inode}
	}
	m, _, err := proc.Module(id.dev, id.inode)
	return m, err
}

// cannotSettle tells of it, unless the process has unmapped the file meanwhile, or
// ends.
func (st *settler) cannotSettle(proc *process.Process, f openFile, err error) {
	if !errors.Is(err, unix.EFAULT) && !errors.Is(err, process.ErrNoProcess) && proc.Alive() == nil {
		st.report.warn(fmt.Sprintf("%s: process %d: not known whether its markers are enabled: %v", f.path, proc.PID, err))
	}
}

// Bounds of looking again.
const (
	firstLook = 10 * time.Millisecond
	// startTime is how long files are left alone that will tell of their start.
	startTime = time.Second
	// tellTime is how long a process is looked at again before the user is told.
	tellTime = 5 * time.Second
)

// lookAgainSoon has a process looked at again whose semaphores are not where they
// should be, less often the longer that lasts.
func (st *settler) lookAgainSoon(t *target) {
	if t.counters.timed {
		return
	}
	t.counters.timed = true
	wait := max(firstLook, elapsed(t.counters.since, clock.Monotonic())/8)
	if len(t.counters.ahead) > 0 {
		wait = max(wait, startTime)
	}
	time.AfterFunc(wait, func() {
		st.post(func() {
			t.counters.timed = false
			if st.targets.byPID[t.pid] == t && t.counters.since != 0 {
				st.again(t)
			}
		})
	})
}

// tellWaiting tells which files of a process cannot be enabled so far.
func (st *settler) tellWaiting(t *target) {
	proc, err := process.Open(t.pid)
	if err != nil {
		return
	}
	defer proc.Close()
	for f := range t.files {
		if o, ok := openMapped(proc, f); ok {
			if len(f.plan) > 0 && semaphore.Look(o.mappings(), f.semaphores.sites) == semaphore.Elsewhere {
				st.tellOff(t, o, semaphore.Elsewhere)
			}
			o.handle.Close()
		}
	}
}

// openMapped opens a file that a process has mapped. The caller closes its handle.
func openMapped(proc *process.Process, f *file) (openFile, bool) {
	o, err := promptly(func() (openFile, error) {
		m, err := moduleOf(proc, f, nil)
		if err != nil || m.Mappings == nil {
			return openFile{}, err
		}
		h, err := m.Open()
		return openFile{f, h, &m}, err
	}, func(o openFile) { o.handle.Close() })
	return o, err == nil && o.handle != nil
}

// relocation is how long the removal of probes waits for a process that is just
// relocating a file.
const relocation = 100 * time.Millisecond

// settleLast settles a file in every process that has it mapped, traced or not,
// for the last time before breakpoints of it are taken out.
func (st *settler) settleLast(f *file) {
	if !f.semaphores.misplaced() || f.semaphores.mapped == (mappedID{}) {
		return
	}
	for _, pid := range process.WhoMaps(f.semaphores.mapped.dev, f.semaphores.mapped.inode) {
		proc, err := process.Open(pid)
		if err != nil {
			continue // it ends
		}
		if o, ok := openMapped(proc, f); ok {
			for until := time.Now().Add(relocation); ; time.Sleep(relocation / 20) {
				last := time.Now().After(until)
				r, err := settleFile(proc, o, last)
				if err != nil {
					st.cannotSettle(proc, o, err)
				}
				if last || err != nil || r.State != semaphore.Elsewhere {
					break
				}
			}
			o.handle.Close()
		}
		proc.Close()
	}
}

// settleAll is settleLast for every file that is attached, and tells what was
// never enabled.
func (st *settler) settleAll() {
	for _, t := range st.targets.byPID {
		if t.counters.since != 0 {
			st.tellWaiting(t)
		}
	}
	for f := range st.targets.attached() {
		st.settleLast(f)
	}
	st.report.flush()
}
