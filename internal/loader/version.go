// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// LearnKernelVersion makes programs of probes loadable in a process with file
// capabilities. With each of them cilium/ebpf passes the kernel's version, which it
// reads once, from this process's own memory; the kernel does not let a process
// read that if it is not dumpable (proc(5)), as those with file capabilities are.
// So this one is dumpable for the time of the read. That opens it to nobody with
// fewer capabilities (cap_ptrace_access_check, security/commoncap.c).
func LearnKernelVersion() {
	const dumpable = 1 // SUID_DUMP_USER, include/linux/sched/coredump.h
	was, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || was == dumpable {
		return
	}
	if unix.Prctl(unix.PR_SET_DUMPABLE, dumpable, 0, 0, 0) == nil {
		_, _ = features.LinuxVersionCode() // loading says what is wrong
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
}
