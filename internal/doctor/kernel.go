// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"io/fs"

	"github.com/cilium/ebpf"

	"github.com/phasetrace/phasetrace/internal/loader"
)

// Remedies that several checks share.
const (
	newerKernel = "use Linux 5.15 or later, built with CONFIG_DEBUG_INFO_BTF as distribution kernels are"
	mountSysfs  = "mount -t sysfs sysfs /sys, in a container too"
	grantAll    = "run as root, or give CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE"
)

// feature is a check of something that was tried.
type feature struct {
	name, purpose string
	err           error
	required      bool
	found         string // detail when it works
	remedy        string // when the kernel does not have it
}

func (f feature) check() Check {
	c := Check{Group: GroupKernel, Name: f.name, Purpose: f.purpose, Required: f.required, Result: OK, Detail: f.found}
	switch {
	case f.err == nil:
	case denied(f.err):
		c.Result, c.Detail, c.Remedy = Unknown, "cannot be tried without privileges", grantAll
	case errors.Is(f.err, loader.ErrNoSysfs):
		c.Result, c.Detail, c.Remedy = Missing, "no sysfs is mounted at /sys", mountSysfs
	case errors.Is(f.err, ebpf.ErrNotSupported), errors.Is(f.err, fs.ErrNotExist):
		c.Result, c.Detail, c.Remedy = Missing, "not in this kernel", f.remedy
	default:
		c.Result, c.Detail, c.Remedy = Missing, short(f.err), f.remedy
	}
	return c
}

// judgeKernel turns what was tried into checks.
func judgeKernel(t trials) []Check {
	load := feature{"bpf_programs", "run a program at each marker", t.load, true, "load", newerKernel}.check()
	if denied(t.load) {
		load.Result, load.Detail = Missing, "the kernel refuses to load them: privileges are missing"
	}
	cs := []Check{load}
	for _, f := range []feature{
		{"btf", "read kernel structures that differ between kernels", t.btf, true, btfPath, newerKernel},
		{"ring_buffer", "hand records over in order", t.ring, true, "works", newerKernel},
		{"task_storage", "number each thread's records, so that losses are known", t.taskStorage, true, "works", newerKernel},
		{"lifecycle", "see forks, execs and exits of processes", t.lifecycle, true, "tracepoint programs attach", newerKernel},
		{"cookies", "tell thousands of sites apart", t.cookies, true, "works", newerKernel},
		{"tracer", "phasetrace's own programs load", t.tracer, true, "load and attach", newerKernel},
	} {
		cs = append(cs, f.check())
	}
	return append(cs, judgeUprobes(t)...)
}

// judgeUprobes judges the ways to attach; one of two is needed.
func judgeUprobes(t trials) []Check {
	usable := t.multiUsable()
	multi := feature{"uprobe_multi", "attach thousands of sites at once, detach in milliseconds", t.multiUprobe, false,
		"a marker fires, and the filter by process is right",
		"nothing has to be done: perf events are used, and detaching takes longer; Linux 6.6 or later has it"}.check()
	if multi.Result == OK && !usable {
		multi.Result, multi.Detail = Warn, "not used"
	}
	if t.features.UprobeMultiPIDBug {
		multi.Result, multi.Detail = Warn, "not used: this kernel's filter takes one thread for the process"
		multi.Remedy = "nothing has to be done: perf events are used, and detaching takes longer; Linux 6.10 and later stable kernels are repaired"
	}
	sleepable := feature{name: "sleepable", purpose: "read names from memory that is not resident", found: "programs can wait for memory",
		remedy: "nothing has to be done: a name whose page was never touched is shown as unreadable; Linux 6.0 or later has it"}
	if !t.features.Sleepable {
		sleepable.err = ebpf.ErrNotSupported
		if t.load != nil {
			sleepable.err = t.load
		}
	}
	return []Check{multi, judgePerfUprobe(t), sleepable.check(), judgeNopKind(t.syscall)}
}

// multiUsable reports whether uprobe_multi is used.
func (t trials) multiUsable() bool { return t.features.UprobeMulti && t.multiUprobe == nil }

// adminNeeded reports whether only CAP_SYS_ADMIN is in the way: perf events
// make uprobes for nobody else (perf_uprobe_event_init, kernel/events/core.c).
func (t trials) adminNeeded() bool {
	return t.load == nil && !t.multiUsable() && denied(t.perfUprobe)
}

func judgePerfUprobe(t trials) Check {
	c := feature{"perf_uprobe", "attach where there is no uprobe_multi", t.perfUprobe, !t.multiUsable(), "a marker fires",
		"use a kernel built with CONFIG_UPROBE_EVENTS"}.check()
	if t.load == nil && c.Result == Unknown {
		c.Detail = "cannot be tried without CAP_SYS_ADMIN"
		c.Remedy = "run as root, or give CAP_SYS_ADMIN as well"
		if t.multiUsable() {
			c.Remedy = "nothing has to be done: uprobe_multi is used"
		}
	}
	return c
}

// judgeNopKind says what this kernel does with probes on long nops.
func judgeNopKind(err error) Check {
	c := Check{Group: GroupKernel, Name: "nop_rewriting", Result: OK, Purpose: "know which kinds of nop are safe to probe"}
	switch loader.RewritingOf(err) {
	case loader.RewritingNone:
		c.Detail = "none: every probe traps, which is safe"
	case loader.RewritingFive:
		c.Result = Warn
		c.Detail = "five-byte nops become calls, unsafely: a child that the program forks dies at such a probe"
		c.Remedy = "leave probes on five-byte nops alone here (doctor finds those of a process); phasetrace.h and sys/sdt.h use one-byte nops, which are safe"
	case loader.RewritingTen:
		c.Detail = "ten-byte nops become calls, safely: the markers of phasetrace.h, and of libbpf's usdt.h, are probed there"
	default:
		c.Result = Unknown
		c.Detail = "cannot be told: system call 336 says " + errText(err)
		c.Remedy = "a filter of system calls, as containers have, may be in the way: run doctor on the host"
	}
	return c
}

func errText(err error) string {
	if err == nil {
		return "nothing"
	}
	return err.Error()
}
