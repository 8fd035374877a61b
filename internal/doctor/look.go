// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/inspect"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/nvsample"
	"github.com/phasetrace/phasetrace/internal/process"
)

// Options of Examine.
type Options struct {
	// PID is the process to look at, 0 for none.
	PID int
	// NVMLLibrary is the path of the NVML library, empty for the usual places.
	NVMLLibrary string
}

// Examine tries and looks at everything. It takes a second or two, five more
// with a GPU driver that hangs, and needs no privileges: what cannot be tried
// without them is reported so.
func Examine(o Options) *Report {
	t := try()
	s := survey()
	checks := judgeKernel(t)
	checks = append(checks, judgePrivileges(s, t.adminNeeded())...)
	checks = append(checks, judgeSystem(s)...)
	gpu := lookAtGPU(func() (gpu.Source, error) { return nvsample.Open(o.NVMLLibrary) }, gpuTime)
	checks = append(checks, judgeGPU(gpu)...)
	if o.PID != 0 {
		checks = append(checks, judgeProcess(lookAtProcess(o.PID), loader.RewritingOf(t.syscall))...)
	}
	return NewReport(kernelRelease(), runtime.GOARCH, o.PID, checks)
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// subject is what was found out about a process.
type subject struct {
	pid        int
	err        error // why it cannot be looked at
	comm       string
	uid        int
	threads    int
	nsPIDs     []int
	container  bool
	state      string // letter and word of /proc/PID/status
	tracer     int    // PID of what traces it with ptrace, 0 for none
	tracerName string
	seccomp    string
	listing    *inspect.Listing
	cmdline    []string
	env        map[string]string
	envErr     error
}

// environmentNames are the variables that decide whether probes fire.
var environmentNames = append([]string{phpVariable}, javaVariables...)

func lookAtProcess(pid int) subject {
	s := subject{pid: pid}
	p, err := process.Open(pid)
	if err != nil {
		s.err = err
		return s
	}
	defer p.Close()
	s.comm, s.uid, s.threads, s.nsPIDs, s.cmdline = p.Comm, p.UID, p.Threads, p.NSPIDs, p.Cmdline
	if ns, err := p.Namespaces(); err == nil {
		s.container = ns.Container()
	}
	if status, err := readStatus(pid); err == nil {
		s.state, s.seccomp = status["State"], status["Seccomp"]
		s.tracer, _ = strconv.Atoi(status["TracerPid"])
	}
	if s.tracer != 0 {
		s.tracerName = readText(fmt.Sprintf("/proc/%d/comm", s.tracer))
	}
	s.env, s.envErr = p.Environ(environmentNames...)
	if s.listing, err = inspect.OfProcess(p, nil); err != nil {
		s.err = err
	} else if err := p.Alive(); err != nil {
		s.err = fmt.Errorf("process %d ended meanwhile: %w", pid, err)
	}
	return s
}

// ourselves reports whether a process is this one.
func (s *subject) ourselves() bool { return s.pid == os.Getpid() }

// stopped reports whether the process stands still.
func (s *subject) stopped() bool {
	return strings.HasPrefix(s.state, "T") || strings.HasPrefix(s.state, "t")
}
