// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// nopKind is what the kernel does with probes on long nops of x86-64.
type nopKind uint8

const (
	// nopsUnknown: it could not be found out.
	nopsUnknown nopKind = iota
	// nopsTrapped: every probe traps.
	nopsTrapped
	// nopsFive: five-byte nops become calls, unsafely (Linux 6.18 to 7.2).
	nopsFive
	// nopsTen: ten-byte nops become calls, safely (Linux 7.3 and later).
	nopsTen
)

// uprobeNumber is __NR_uprobe of x86-64, arch/x86/entry/syscalls/syscall_64.tbl.
const uprobeNumber = 336

// errNoSyscall stands for architectures that have no such system call.
var errNoSyscall = errors.New("not on this architecture")

// uprobeSyscall makes the system call that a rewritten nop would make. Made
// from ordinary code it does nothing but fail, and how it fails tells which
// kind of rewriting the kernel does: the five-byte kind does not find its
// caller among its trampolines (ENXIO), the ten-byte kind rejects it
// (EPROTO), and other kernels do not know it (ENOSYS).
func uprobeSyscall() error {
	if runtime.GOARCH != "amd64" {
		return errNoSyscall
	}
	_, _, errno := unix.Syscall(uprobeNumber, 0, 0, 0)
	return errno
}

// nopsOf reads the answer of uprobeSyscall.
func nopsOf(err error) nopKind {
	switch {
	case errors.Is(err, errNoSyscall), errors.Is(err, unix.ENOSYS):
		return nopsTrapped
	case errors.Is(err, unix.ENXIO):
		return nopsFive
	case errors.Is(err, unix.EPROTO):
		return nopsTen
	}
	return nopsUnknown
}
