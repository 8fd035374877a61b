// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/clock"
)

// surroundings are what /proc and /sys say about this process and machine.
// Text is "" where it could not be read.
type surroundings struct {
	uid           int
	effective     uint64        // capabilities
	ownPIDs       bool          // in a PID namespace of its own
	ownUsers      bool          // in a user namespace of its own
	shift         clock.Offsets // of its time namespace
	lockdown      string        // the choice in brackets
	paranoid      string        // kernel.perf_event_paranoid
	unprivileged  string        // kernel.unprivileged_bpf_disabled
	ptraceScope   string        // kernel.yama.ptrace_scope
	jit           string        // net.core.bpf_jit_enable
	bpfStats      string        // kernel.bpf_stats_enabled
	seccomp       string        // mode of this process
	tracefs       bool
	uprobesByPerf bool // perf events can make uprobes
}

// Inode numbers of the initial namespaces, include/linux/proc_ns.h.
const (
	initialPIDs  = 0xEFFFFFFC
	initialUsers = 0xEFFFFFFD
)

func survey() surroundings {
	status, _ := readStatus(os.Getpid())
	effective, _ := strconv.ParseUint(status["CapEff"], 16, 64)
	return surroundings{
		uid:           os.Geteuid(),
		effective:     effective,
		ownPIDs:       namespaceInode("pid") != initialPIDs,
		ownUsers:      namespaceInode("user") != initialUsers,
		shift:         clock.Shift(),
		lockdown:      bracketed(readText("/sys/kernel/security/lockdown")),
		paranoid:      readText("/proc/sys/kernel/perf_event_paranoid"),
		unprivileged:  readText("/proc/sys/kernel/unprivileged_bpf_disabled"),
		ptraceScope:   readText("/proc/sys/kernel/yama/ptrace_scope"),
		jit:           readText("/proc/sys/net/core/bpf_jit_enable"),
		bpfStats:      readText("/proc/sys/kernel/bpf_stats_enabled"),
		seccomp:       status["Seccomp"],
		tracefs:       exists("/sys/kernel/tracing/events") || exists("/sys/kernel/debug/tracing/events"),
		uprobesByPerf: exists("/sys/bus/event_source/devices/uprobe/type"),
	}
}

// maxText bounds what is read of a kernel file, in bytes.
const maxText = 64 << 10

func readText(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxText))
	return strings.TrimSpace(string(text))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// bracketed returns the chosen one of "none [integrity] confidentiality".
func bracketed(s string) string {
	_, rest, ok := strings.Cut(s, "[")
	if !ok {
		return ""
	}
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// namespaceInode is what names a namespace of this process, 0 if unknown.
func namespaceInode(kind string) uint64 {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/"+kind, &st); err != nil {
		return 0
	}
	return st.Ino
}

// readStatus reads the fields of /proc/PID/status. Names of processes cannot
// forge fields: the kernel escapes line ends.
func readStatus(pid int) (map[string]string, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fields := make(map[string]string)
	s := bufio.NewScanner(io.LimitReader(f, maxText))
	for s.Scan() {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok {
			fields[key] = strings.TrimSpace(value)
		}
	}
	return fields, s.Err()
}
