// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cilium/ebpf"
)

// explainAttach adds to a refusal of the kernel what it means here.
func explainAttach(err error) error {
	switch {
	case outOfFiles(err):
		return fmt.Errorf("%w: %w", err, ErrFiles)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return fmt.Errorf("the process has ended: %w", err)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: attaching probes needs root, or CAP_BPF and CAP_PERFMON, and CAP_SYS_ADMIN on kernels without uprobe_multi: %v", ErrPermission, err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, syscall.EOPNOTSUPP):
		return fmt.Errorf("the kernel cannot trap the instruction at this place: %w", err)
	case errors.Is(err, syscall.EINVAL): // more of the error is guesses
		return fmt.Errorf("the kernel refuses a probe at this place: %w", syscall.EINVAL)
	}
	return err
}
