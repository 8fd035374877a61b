// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"runtime"

	"github.com/phasetrace/phasetrace/internal/probe"

	"golang.org/x/sys/unix"
)

// Rewriting is what the kernel does with probes on long nops of x86-64.
type Rewriting uint8

const (
	// RewritingUnknown: it could not be found out.
	RewritingUnknown Rewriting = iota
	// RewritingNone: every probe traps.
	RewritingNone
	// RewritingFive: five-byte nops become calls, unsafely (Linux 6.18 to 7.2).
	RewritingFive
	// RewritingTen: ten-byte nops become calls, safely (Linux 7.3 and later).
	RewritingTen
)

// uprobeNumber is __NR_uprobe of x86-64, arch/x86/entry/syscalls/syscall_64.tbl.
const uprobeNumber = 336

// ErrNoSyscall stands for architectures that have no such system call.
var ErrNoSyscall = errors.New("not on this architecture")

// UprobeSyscall makes the system call that a rewritten nop would make. From
// ordinary code it only fails, and how it fails shows which kind of rewriting the
// kernel does: the five-byte kind does not find its caller among its trampolines
// (ENXIO), the ten-byte kind rejects it (EPROTO), and other kernels do not know
// it (ENOSYS).
func UprobeSyscall() error {
	if runtime.GOARCH != "amd64" {
		return ErrNoSyscall
	}
	_, _, errno := unix.Syscall(uprobeNumber, 0, 0, 0)
	return errno
}

// RewritingOf reads the answer of UprobeSyscall.
func RewritingOf(err error) Rewriting {
	switch {
	case errors.Is(err, ErrNoSyscall), errors.Is(err, unix.ENOSYS):
		return RewritingNone
	case errors.Is(err, unix.ENXIO):
		return RewritingFive
	case errors.Is(err, unix.EPROTO):
		return RewritingTen
	}
	return RewritingUnknown
}

// NopRewriting returns what the running kernel does with probes on long nops.
func NopRewriting() Rewriting { return RewritingOf(UprobeSyscall()) }

// Rewriting is NopRewriting, but without ten-byte nops where these are forced away.
func (w Without) Rewriting() Rewriting {
	r := NopRewriting()
	if w.Nop10 && r == RewritingTen {
		return RewritingNone
	}
	return r
}

// The border that kernels do not rewrite across, and the length of the nop
// (can_optimize, arch/x86/kernel/uprobes.c).
const (
	pageBytes  = 4096
	nop10Bytes = 10
)

// Place returns the file offset at which a site is probed whose location is at
// offset, and the nop that the probe is put on. Of the two nops of nop1+nop10 it
// is the ten-byte one where this kernel makes a call of it, instead of a trap. The
// one-byte nop is safe everywhere and remains for the others.
func (r Rewriting) Place(offset uint64, n probe.Nop) (at uint64, used probe.Nop) {
	if n != probe.Nop1Then10 {
		return offset, n
	}
	if behind := offset + 1; r == RewritingTen && !across(behind) {
		return behind, probe.Nop10
	}
	return offset, probe.Nop1
}

// across reports whether a ten-byte nop lies across the border of two pages.
func across(offset uint64) bool { return offset%pageBytes+nop10Bytes > pageBytes }

// Refuses returns why a site at that offset, on that kind of nop, is left alone on
// such a kernel, "" when it may be attached.
func (r Rewriting) Refuses(offset uint64, n probe.Nop) string {
	switch {
	case n == probe.Nop5 && (r == RewritingFive || r == RewritingUnknown):
		return "it is on a five-byte nop, which this kernel may turn into a call unsafely: memory below the stack pointer is overwritten, and a child that is forked afterwards dies there"
	case n == probe.Nop10 && r != RewritingTen:
		return "it is on a ten-byte nop, where a probe never fires on this kernel"
	case n == probe.Nop10 && across(offset):
		return "it is on a ten-byte nop across the border of two pages, where this kernel takes no probe"
	}
	return ""
}
