// SPDX-License-Identifier: Apache-2.0

// Package privileges gives up what a tracer does not need once it is attached. It
// knows capabilities(7) and must not know tracing.
package privileges

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Needs is what a session still does after it has attached.
type Needs struct {
	// Admin: more probes can only be made with CAP_SYS_ADMIN, as where there is
	// no uprobe_multi.
	Admin bool
	// Signals: processes of other users are signalled.
	Signals bool
}

// always are needed until the end: a process can load a library at any time.
var always = []cap.Value{
	cap.BPF,                // load programs, read and change maps
	cap.PERFMON,            // attach probes, and let programs read memory
	cap.SYS_PTRACE,         // look at processes of other users
	cap.DAC_READ_SEARCH,    // read their files
	cap.CHECKPOINT_RESTORE, // read libraries that were deleted while in use
}

// patience is how long Reduce waits for all threads; one that hangs in a
// driver's call cannot change its capabilities before the call returns.
const patience = time.Second

// ErrSlow says that a thread has not given up its capabilities yet. It will, as
// soon as it can.
var ErrSlow = errors.New("a thread hangs in a system call and keeps its capabilities until that returns: check dmesg for what hangs")

// Reduce gives up, on every thread of the process and for good, all capabilities
// but those that are needed; none is gained. Programs started later get no more
// than before.
func Reduce(n Needs) error {
	now, kept := cap.GetProc(), cap.NewSet()
	held := func(v cap.Value) bool {
		has, err := now.GetFlag(cap.Permitted, v)
		return err == nil && has // an error: the kernel does not know it
	}
	return set(kept, n.keep(held))
}

// Drop gives up all capabilities, for a process that only waits for another.
func Drop() error { return set(cap.NewSet(), nil) }

// set makes the capabilities of every thread those of a set and some more.
func set(kept *cap.Set, more []cap.Value) error {
	for _, v := range more {
		if err := errors.Join(kept.SetFlag(cap.Permitted, true, v), kept.SetFlag(cap.Effective, true, v)); err != nil {
			return fmt.Errorf("give up privileges: keep %v: %w", v, err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- kept.SetProc() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("give up privileges: %w", err)
		}
		return nil
	case <-time.After(patience):
		return ErrSlow
	}
}

// keep chooses from the capabilities that are held. CAP_SYS_ADMIN includes
// CAP_BPF and CAP_PERFMON: it stays where it stands in for one of them.
func (n Needs) keep(held func(cap.Value) bool) []cap.Value {
	wanted := slices.Clone(always)
	if n.Admin || !held(cap.BPF) || !held(cap.PERFMON) {
		wanted = append(wanted, cap.SYS_ADMIN)
	}
	if n.Signals {
		wanted = append(wanted, cap.KILL)
	}
	return slices.DeleteFunc(wanted, func(v cap.Value) bool { return !held(v) })
}
