// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// need is something without which nothing can be traced.
type need struct {
	what  string
	since string // the Linux that brought it
	try   func(Without) error
}

// needs are in the order of their versions, so that the last that is missing says
// what would do.
var needs = []need{
	{"BPF ring buffers", "5.8", func(Without) error { return features.HaveMapType(ebpf.RingBuf) }},
	{"BPF task storage", "5.11", func(Without) error {
		if err := features.HaveMapType(ebpf.TaskStorage); err != nil {
			return err
		}
		return features.HaveProgramHelper(ebpf.Kprobe, asm.FnTaskStorageGet)
	}},
	{"cookies of BPF probes", "5.15", func(w Without) error {
		if w.Cookies {
			return ebpf.ErrNotSupported
		}
		return features.HaveProgramHelper(ebpf.Kprobe, asm.FnGetAttachCookie)
	}},
}

// CheckKernel returns an error that wraps ErrKernel and says what the running
// kernel lacks and which Linux has it. It attaches nothing and is done in
// milliseconds. What cannot be tried, for want of privileges, is not missing.
func CheckKernel(w Without) error {
	LearnKernel()
	if err := haveFiles(); err != nil {
		return fmt.Errorf("load BPF programs: %w", err)
	}
	var missing []string
	var enough string
	for _, n := range needs {
		if errors.Is(n.try(w), ebpf.ErrNotSupported) {
			missing = append(missing, fmt.Sprintf("%s (Linux %s)", n.what, n.since))
			enough = n.since
		}
	}
	if missing == nil {
		return nil
	}
	var name unix.Utsname
	_ = unix.Uname(&name) // nothing to say of its error
	return fmt.Errorf("%w: %s: this is %s, use Linux %s or later", ErrKernel, strings.Join(missing, ", "),
		unix.ByteSliceToString(name.Release[:]), enough)
}
