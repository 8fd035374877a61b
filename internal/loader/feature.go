// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/bpf"
)

// Features says what the running kernel lets the tracer use. Each is found by
// trying, not by a version number.
type Features struct {
	// UprobeMulti: thousands of sites in one link, with a correct filter by
	// process (Linux 6.6, the filter 6.10 or a stable kernel with the fix).
	UprobeMulti bool
	// UprobeMultiPIDBug: uprobe_multi exists and filters by thread instead of
	// by process; it is not used.
	UprobeMultiPIDBug bool
	// Sleepable: programs may fault in the target's memory (Linux 6.0).
	Sleepable bool
	// CPURings: records go through a ring for each CPU, not one for all (needs
	// atomic exchanges in BPF: Linux 5.12, on arm64 5.18).
	CPURings bool
}

// Names that Without understands, for tests of the fallbacks.
const (
	withoutUprobeMulti = "no-uprobe-multi"
	withoutSleepable   = "no-sleepable"
	withoutCPURings    = "no-cpu-rings"
	withoutNop10       = "no-nop10"
	withoutCookies     = "no-cookies"
)

// WithoutEnv names the environment variable that holds what ParseWithout reads.
const WithoutEnv = "PHASETRACE_FORCE_FEATURES"

// Without is a list of things not to use although the kernel has them. It
// exists for tests of the fallbacks.
type Without struct {
	UprobeMulti bool // attach through perf events
	Sleepable   bool // never fault memory in
	CPURings    bool // all CPUs share one BPF ring buffer
	Nop10       bool // probe no ten-byte nop
	Cookies     bool // refuse to trace, as on a kernel that is too old
}

// ParseWithout reads a comma-separated list of no-uprobe-multi, no-sleepable,
// no-cpu-rings, no-nop10 and no-cookies.
func ParseWithout(s string) (Without, error) {
	var w Without
	for word := range strings.SplitSeq(s, ",") {
		switch strings.TrimSpace(word) {
		case "":
		case withoutUprobeMulti:
			w.UprobeMulti = true
		case withoutSleepable:
			w.Sleepable = true
		case withoutCPURings:
			w.CPURings = true
		case withoutNop10:
			w.Nop10 = true
		case withoutCookies:
			w.Cookies = true
		default:
			return w, fmt.Errorf("feature switch %q: want %s, %s, %s, %s or %s", word,
				withoutUprobeMulti, withoutSleepable, withoutCPURings, withoutNop10, withoutCookies)
		}
	}
	return w, nil
}

// DetectFeatures tries what the kernel can do. It needs the privileges of a
// trace.
func DetectFeatures(w Without) (Features, error) {
	var f Features
	if err := CheckKernel(w); err != nil {
		return f, err
	}
	spec, err := bpf.LoadPhasetrace()
	if err != nil {
		return f, fmt.Errorf("read the BPF object: %w", err)
	}
	empty := spec.Programs[bpf.PhasetraceProgMarkerEmpty]
	plain, err := ebpf.NewProgram(empty)
	if err != nil {
		return f, explainLoad(err)
	}
	plain.Close()
	if !w.Sleepable {
		f.Sleepable = loads(asSleepable(empty.Copy()))
	}
	if !w.CPURings {
		f.CPURings = loads(spec.Programs[bpf.PhasetraceProgExchange])
	}
	if !w.UprobeMulti {
		f.UprobeMulti, f.UprobeMultiPIDBug = detectUprobeMulti(asMulti(empty.Copy()))
	}
	return f, nil
}

func loads(spec *ebpf.ProgramSpec) bool {
	p, err := ebpf.NewProgram(spec)
	if err != nil {
		return false
	}
	p.Close()
	return true
}

func asMulti(spec *ebpf.ProgramSpec) *ebpf.ProgramSpec {
	spec.AttachType = ebpf.AttachTraceUprobeMulti
	return spec
}

// bpfFSleepable is BPF_F_SLEEPABLE, include/uapi/linux/bpf.h.
const bpfFSleepable = 1 << 4

func asSleepable(spec *ebpf.ProgramSpec) *ebpf.ProgramSpec {
	spec.Flags |= bpfFSleepable
	return spec
}

// detectUprobeMulti attaches to "/", which no kernel can: one that knows
// uprobe_multi says EBADF, and one that filters by process has looked at the
// impossible PID before and says EINVAL.
func detectUprobeMulti(spec *ebpf.ProgramSpec) (usable, pidBug bool) {
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		return false, false
	}
	defer prog.Close()
	root, err := link.OpenExecutable("/")
	if err != nil {
		return false, false
	}
	try := func(pid uint32) error {
		l, err := root.UprobeMulti(nil, prog, &link.UprobeMultiOptions{Addresses: []uint64{1}, PID: pid})
		if err == nil {
			l.Close()
		}
		return err
	}
	if err := try(0); !errors.Is(err, syscall.EBADF) {
		return false, false
	}
	if err := try(^uint32(0)); !errors.Is(err, syscall.EINVAL) {
		return false, true
	}
	return true, false
}

// ErrPermission is wrapped by errors that a missing capability causes.
var ErrPermission = errors.New("missing privileges")

// ErrKernel is wrapped by errors from a kernel that lacks what is needed.
var ErrKernel = errors.New("this kernel lacks what phasetrace needs")

// ErrFiles is wrapped by errors that the limit of open files causes.
var ErrFiles = errors.New("raise the limit of open files (ulimit -n)")

func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// spareFiles is how many files a tracer opens before it attaches to a site, and
// some more for these.
const spareFiles = 64

// haveFiles makes sure that enough files can be opened: the library that loads
// programs takes a lack of them for a lack of features.
func haveFiles() error {
	for range spareFiles {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("%w: %d more are needed: %w", err, spareFiles, ErrFiles)
		}
		defer unix.Close(fd)
	}
	return nil
}

// explainLoad says what most likely made a load fail.
func explainLoad(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case outOfFiles(err): // which a verifier's error can hold as well
		return fmt.Errorf("load BPF programs: %v: %w", short(err), ErrFiles)
	case errors.As(err, &refused) && len(refused.Log) > 0:
		// Its errno is EACCES too, but no privilege is missing: this kernel does
		// not accept the program.
		return fmt.Errorf("load BPF programs: %w: its verifier refuses a program: please report this with the kernel's version: %v",
			ErrKernel, short(err))
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("load BPF programs: %w: run as root or with CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE (%v)",
			ErrPermission, short(err))
	case errors.Is(err, ebpf.ErrNotSupported) && MissingSysfs() != nil:
		return fmt.Errorf("load BPF programs: %w", MissingSysfs())
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("load BPF programs: %w: Linux 5.15 or later with BTF (CONFIG_DEBUG_INFO_BTF) is needed: %v",
			ErrKernel, short(err))
	}
	return fmt.Errorf("load BPF programs: %w", err)
}

// ErrNoSysfs says that what the kernel tells in /sys cannot be seen.
var ErrNoSysfs = errors.New("no sysfs is mounted at /sys, where the kernel tells of its types (BTF): mount -t sysfs sysfs /sys, in a container too")

// MissingSysfs returns ErrNoSysfs where that is so.
func MissingSysfs() error {
	var st unix.Statfs_t
	if unix.Statfs("/sys", &st) == nil && st.Type == unix.SYSFS_MAGIC {
		return nil
	}
	return ErrNoSysfs
}

// short keeps the first line of an error: verifier logs run to pages.
func short(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}
