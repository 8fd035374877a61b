// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/clock"
)

// judgePrivileges says which capabilities are held. docs/doctor.md has the
// experiment that showed which are needed. needAdmin says that probes can only be
// made with CAP_SYS_ADMIN here.
func judgePrivileges(s surroundings, needAdmin bool) []Check {
	has := func(bit uint) bool { return s.effective>>bit&1 != 0 }
	admin := has(unix.CAP_SYS_ADMIN)
	var cs []Check
	add := func(bit uint, name string, required bool, purpose, remedy string) {
		c := Check{Group: GroupPrivileges, Name: name, Purpose: purpose, Required: required, Result: OK, Detail: "held"}
		switch {
		case has(bit):
		case admin && (bit == unix.CAP_BPF || bit == unix.CAP_PERFMON):
			c.Detail = "not held, but CAP_SYS_ADMIN is, which includes it"
		case remedy == "":
			c.Detail = "not held, and not needed" + forWhom(bit)
		default:
			c.Result, c.Detail, c.Remedy = Missing, "not held", remedy
		}
		cs = append(cs, c)
	}
	const grant = "run as root, or: setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_lease+ep on the phasetrace file"
	add(unix.CAP_BPF, "CAP_BPF", true, "load BPF programs and maps", grant)
	add(unix.CAP_PERFMON, "CAP_PERFMON", true, "attach probes and read the memory of programs", grant)
	add(unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", false, "look at processes of other users, and at those that hide from their own", grant)
	add(unix.CAP_LEASE, "CAP_LEASE", false, "make whoever overwrites another user's file wait until its probes are out", grant)
	forAdmin := ""
	if needAdmin {
		forAdmin = "run as root, or give CAP_SYS_ADMIN as well: without uprobe_multi, probes need it"
	}
	add(unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", needAdmin, "stand in for CAP_BPF and CAP_PERFMON; attach where there is no uprobe_multi", forAdmin)
	add(unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", false, "read files that only their owner may read, and deleted libraries of other users' processes", "")
	add(unix.CAP_CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE", false, "read libraries that were deleted or replaced after they were mapped", "")
	add(unix.CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", false, "lock memory for BPF before Linux 5.11", "")
	if s.ownUsers {
		cs = append(cs, Check{
			Group: GroupPrivileges, Name: "user_namespace", Result: Warn, Purpose: "have the capabilities count for the whole machine",
			Detail: "in a user namespace of its own: capabilities held here do not count for BPF",
			Remedy: "run phasetrace outside of it: on the host, or in a container without user namespaces",
		})
	}
	return cs
}

// forWhom says which few programs ask for a capability that others do not.
func forWhom(bit uint) string {
	switch bit {
	case unix.CAP_DAC_READ_SEARCH:
		return " unless a program's file is closed to other users"
	case unix.CAP_CHECKPOINT_RESTORE:
		return " unless a library was deleted while in use"
	}
	return ""
}

// judgeSystem says which of the machine's settings are in the way. Those that a
// capability overrides are listed, but do not count.
func judgeSystem(s surroundings) []Check {
	cs := []Check{
		judgeLockdown(s.lockdown),
		setting("unprivileged_bpf_disabled", "whether BPF needs CAP_BPF", s.unprivileged, "which CAP_BPF overrides"),
		setting("perf_event_paranoid", "whether perf events need CAP_PERFMON", s.paranoid, "which CAP_PERFMON overrides"),
		judgePtraceScope(s),
	}
	jit := Check{Group: GroupSystem, Name: "bpf_jit", Result: OK, Purpose: "run programs as machine code", Detail: "on"}
	switch s.jit {
	case "":
		jit.Result, jit.Detail = Unknown, "net.core.bpf_jit_enable cannot be read"
	case "0":
		jit.Result, jit.Detail, jit.Remedy = Warn, "off: each hit of a marker costs several times as much", "sysctl net.core.bpf_jit_enable=1"
	}
	cs = append(cs, jit)
	if s.bpfStats == "1" {
		cs = append(cs, Check{Group: GroupSystem, Name: "bpf_stats", Result: Warn, Purpose: "keep each hit cheap",
			Detail: "the kernel measures every BPF program, which costs time at each hit", Remedy: "sysctl kernel.bpf_stats_enabled=0"})
	}
	return append(cs, judgeTracefs(s), judgeContainer(s), judgeTimes(s.shift))
}

func setting(name, purpose, value, meaning string) Check {
	c := Check{Group: GroupSystem, Name: name, Result: OK, Purpose: purpose, Detail: value + ", " + meaning}
	switch value {
	case "":
		c.Detail = "this kernel does not have the setting"
	case "0", "-1": // it restricts nobody
		c.Detail = value
	}
	return c
}

func judgeLockdown(mode string) Check {
	c := Check{Group: GroupSystem, Name: "lockdown", Result: OK, Purpose: "let programs read memory", Detail: mode}
	switch mode {
	case "":
		c.Detail = "none"
	case "confidentiality":
		c.Result = Missing
		c.Required = true
		c.Detail = "confidentiality: the kernel lets no BPF program read memory"
		c.Remedy = "boot without lockdown=confidentiality; integrity is fine"
	}
	return c
}

// judgePtraceScope: phasetrace run holds its command with ptrace; nothing else
// here needs it.
func judgePtraceScope(s surroundings) Check {
	c := setting("ptrace_scope", "hold a command until its probes are attached (phasetrace run)", s.ptraceScope, "not in the way")
	switch {
	case s.ptraceScope == "2" && s.effective>>unix.CAP_SYS_PTRACE&1 == 0:
		c.Result, c.Detail = Warn, "2: ptrace needs CAP_SYS_PTRACE"
		c.Remedy = "attaching to a running process works; for phasetrace run, give CAP_SYS_PTRACE as well"
	case s.ptraceScope == "3":
		c.Result, c.Detail = Warn, "3: nobody may use ptrace"
		c.Remedy = "attaching to a running process works, phasetrace run does not; the setting lasts until a reboot"
	}
	return c
}

func judgeTracefs(s surroundings) Check {
	c := Check{Group: GroupSystem, Name: "tracefs", Result: OK, Purpose: "make uprobes where perf events cannot", Detail: "not needed: perf events can make uprobes"}
	switch {
	case s.uprobesByPerf && s.tracefs:
		c.Detail = "mounted, and not needed: perf events can make uprobes"
	case s.uprobesByPerf:
	case s.tracefs:
		c.Detail = "mounted"
	default:
		c.Result, c.Detail, c.Remedy = Missing, "not mounted, and perf events cannot make uprobes here", "mount -t tracefs tracefs /sys/kernel/tracing"
	}
	return c
}

func judgeContainer(s surroundings) Check {
	c := Check{Group: GroupSystem, Name: "container", Result: OK, Purpose: "name processes as the rest of the machine does", Detail: "the machine's own PID namespace"}
	if s.ownPIDs {
		c.Detail = "in a PID namespace of its own: it can trace processes in there, by the PIDs that they have there"
	}
	if s.seccomp != "" && s.seccomp != "0" {
		c.Result = Warn
		c.Detail += fmt.Sprintf("; a filter of system calls (seccomp mode %s) is on phasetrace itself", s.seccomp)
		c.Remedy = "if BPF programs cannot be loaded above, allow the bpf and perf_event_open system calls"
	}
	return c
}

// judgeTimes: programs in the kernel read the machine's clocks, whatever a time
// namespace shows.
func judgeTimes(shift clock.Offsets) Check {
	c := Check{Group: GroupSystem, Name: "time_namespace", Result: OK, Purpose: "tell times that the rest of the machine shares", Detail: "the machine's own clocks"}
	if shift != (clock.Offsets{}) {
		c.Detail = fmt.Sprintf("in a time namespace that shifts CLOCK_MONOTONIC by %v and CLOCK_BOOTTIME by %v: recorded times are those of the machine, without that",
			time.Duration(shift.Monotonic), time.Duration(shift.Boot))
	}
	return c
}
