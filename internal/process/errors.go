// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	// ErrNoProcess: there is no such process, or it has ended.
	ErrNoProcess = errors.New("no such process")
	// ErrZombie: the process has ended and waits for its parent to reap it.
	// errors.Is(err, ErrNoProcess) holds for it as well.
	ErrZombie = fmt.Errorf("process has ended and was not reaped by its parent yet: %w", ErrNoProcess)
	// ErrKernelThread: the PID is a thread of the kernel and maps no files.
	ErrKernelThread = errors.New("is a kernel thread, which has no program to trace; give the PID of a user process")
	// ErrTruncated: a bound of this package was reached. The other results
	// of the call are valid, but not complete.
	ErrTruncated = errors.New("truncated")
	// ErrClosed: the method was called after Close.
	ErrClosed = errors.New("process handle is closed")
)

// ThreadError says that an id given as a process is a thread of one.
type ThreadError struct {
	TID int // what was given
	PID int // the process it belongs to
}

func (e *ThreadError) Error() string {
	return fmt.Sprintf("%d is a thread of process %d; give the PID %d", e.TID, e.PID, e.PID)
}

// PermissionError says that the kernel refused to show part of a process, and
// what to do about it. errors.Is(err, fs.ErrPermission) holds for it.
type PermissionError struct {
	PID        int
	Op         string // what was tried, such as "read the memory map"
	Owner      int    // user id of the process, -1 if not known
	Capability string // what is missing, such as "CAP_SYS_PTRACE"
	Held       bool   // the capability is held here, and yet it was refused
	Err        error  // from the kernel
}

func (e *PermissionError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of process %d", e.Op, e.PID)
	if e.Owner >= 0 {
		fmt.Fprintf(&b, " (owned by uid %d)", e.Owner)
	}
	fmt.Fprintf(&b, ": %v; ", e.Err)
	if e.Held {
		fmt.Fprintf(&b, "%s is held but was refused: the process is in a user namespace outside this one, or a security module forbids it; run phasetrace in the initial user namespace", e.Capability)
	} else {
		fmt.Fprintf(&b, "%s is missing: run phasetrace with sudo or give it that capability", e.Capability)
	}
	return b.String()
}

// Unwrap returns the kernel's error.
func (e *PermissionError) Unwrap() error { return e.Err }

// capability numbers of include/uapi/linux/capability.h.
var capabilityBit = map[string]uint{
	"CAP_SYS_PTRACE":         unix.CAP_SYS_PTRACE,
	"CAP_CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE,
	"CAP_SYS_ADMIN":          unix.CAP_SYS_ADMIN,
}

// holds reports whether this process has the capability in effect.
func holds(capability string) bool {
	bit, ok := capabilityBit[capability]
	if !ok {
		return false
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[bit/32].Effective&(1<<(bit%32)) != 0
}

func isPermission(err error) bool { return errors.Is(err, os.ErrPermission) }

// OutOfFiles reports whether an error means that no more files can be open, in
// this process or on the machine.
func OutOfFiles(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// isGone reports whether an error of a /proc access means that the process or
// thread has ended. procfs says ENOENT for a new look-up and ESRCH for one
// through a directory that is already open.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}
