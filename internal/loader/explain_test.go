// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
)

// A kernel that is too old is told from what it lacks, before anything is loaded.
func TestCheckKernel(t *testing.T) {
	if err := CheckKernel(Without{}); err != nil {
		t.Error(err)
	}
	err := CheckKernel(Without{Cookies: true})
	if !errors.Is(err, ErrKernel) || !strings.Contains(err.Error(), ": cookies of BPF probes (Linux 5.15): ") || !strings.HasSuffix(err.Error(), "use Linux 5.15 or later") {
		t.Error(err)
	}
	// Who may load nothing learns that first.
	if _, err := Open(Options{Without: Without{Cookies: true}}); !errors.Is(err, ErrKernel) && !errors.Is(err, ErrPermission) {
		t.Errorf("opened all the same: %v", err)
	}
}

// A refused load says in one line whether a privilege, the kernel or a program
// of ours is the trouble, and what to do.
func TestExplainLoad(t *testing.T) {
	full := &ebpf.VerifierError{Cause: syscall.EMFILE, Log: []string{"processed 7 insns"}}
	refused := &ebpf.VerifierError{Cause: syscall.EACCES, Log: []string{"0: R0 !read_ok", "more"}}
	for _, c := range []struct {
		err  error
		is   error
		says string
	}{
		{fmt.Errorf("create map: %w", syscall.EPERM), ErrPermission, "CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE"},
		{fmt.Errorf("load kernel BTF: %w", ebpf.ErrNotSupported), ErrKernel, "Linux 5.15 or later with BTF"},
		{fmt.Errorf("program marker: %w", full), ErrFiles, "too many open files: raise the limit of open files (ulimit -n)"},
		{fmt.Errorf("program marker: %w", refused), ErrKernel, "its verifier refuses a program"},
	} {
		got := explainLoad(c.err)
		if !errors.Is(got, c.is) || !strings.Contains(got.Error(), c.says) || strings.Contains(got.Error(), "\n") {
			t.Errorf("%v: %q, want one line with %q that is %v", c.err, got, c.says, c.is)
		}
	}
}
