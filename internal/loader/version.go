// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"sync"

	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// LearnKernel must come before anything of the library that loads programs. It
// makes that know the kernel's version, which it reads once, from
// /proc/self/mem. That file belongs to root in a process that runs a file with
// capabilities, or any other that is not dumpable; so this process is, for a
// moment at its start. A user's other processes gain nothing by it: whoever looks
// into a process needs all the capabilities that it has (cap_ptrace_access_check,
// security/commoncap.c).
func LearnKernel() { learnKernel() }

var learnKernel = sync.OnceFunc(func() {
	const no, yes = 0, 1
	if is, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err == nil && is != yes {
		if unix.Prctl(unix.PR_SET_DUMPABLE, yes, 0, 0, 0) == nil {
			defer unix.Prctl(unix.PR_SET_DUMPABLE, no, 0, 0, 0)
		}
	}
	_, _ = features.LinuxVersionCode() // an error comes again where the version is needed
})
