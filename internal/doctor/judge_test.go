// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/inspect"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, r *Report) {
	t.Helper()
	var b bytes.Buffer
	r.Advise(func(a Advice) string { return "<" + string(a) + ">" })
	if err := WriteTable(&b, r, false, 0); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s differs; go test -update rewrites it:\n%s", path, diff)
	}
	checkFolded(t, r, b.String())
	for _, r := range b.String() {
		if r != '\n' && !human.Visible(r) {
			t.Errorf("unsafe character %U", r)
		}
	}
}

// checkFolded looks at a report for a narrow terminal: it has the same words, and no
// line has more than one that goes beyond the edge.
func checkFolded(t *testing.T, r *Report, whole string) {
	t.Helper()
	const width = 72
	var b bytes.Buffer
	if err := WriteTable(&b, r, false, width); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Fields(whole), strings.Fields(b.String())); diff != "" {
		t.Errorf("on a narrow terminal the words differ:\n%s", diff)
	}
	for line := range strings.SplitSeq(b.String(), "\n") {
		if at := strings.LastIndex(strings.TrimRight(line, " "), " "); human.Columns([]byte(line)) > width && at > width/2 {
			t.Errorf("a line is wider than %d columns: %s", width, line)
		}
	}
}

// works is a machine on which everything works.
func works() (trials, surroundings) {
	t := trials{syscall: unix.EPROTO, features: loader.Features{UprobeMulti: true, Sleepable: true}}
	s := surroundings{effective: 1<<41 - 1, paranoid: "2", unprivileged: "2", ptraceScope: "1", jit: "1", bpfStats: "0", seccomp: "0", uprobesByPerf: true}
	return t, s
}

func machine(t trials, s surroundings) []Check {
	checks := append(judgeKernel(t), judgePrivileges(s, t.adminNeeded())...)
	return append(checks, judgeSystem(s)...)
}

func TestMachineGoldens(t *testing.T) {
	denied := fmt.Errorf("load program: %w", unix.EPERM)
	for name, change := range map[string]func(*trials, *surroundings){
		"good": func(*trials, *surroundings) {},
		"unprivileged": func(t *trials, s *surroundings) {
			*t = trials{load: denied, ring: denied, taskStorage: denied, lifecycle: denied, cookies: denied,
				perfUprobe: denied, multiUprobe: denied, tracer: denied, syscall: unix.ENOSYS}
			s.effective, s.uid = 0, 1000
		},
		// Linux 6.1 with CAP_BPF and CAP_PERFMON only.
		"no-multi": func(t *trials, s *surroundings) {
			t.multiUprobe = fmt.Errorf("create link: %w", ebpf.ErrNotSupported)
			t.perfUprobe = fmt.Errorf("open perf event: %w", unix.EACCES)
			t.features, t.syscall = loader.Features{}, unix.ENOSYS
			s.effective, s.uid = 1<<unix.CAP_BPF|1<<unix.CAP_PERFMON, 1000
		},
		"container": func(t *trials, s *surroundings) {
			t.load, t.btf, t.syscall = denied, fs.ErrNotExist, unix.EPERM
			s.ownPIDs, s.ownUsers, s.seccomp = true, true, "2"
			s.shift = clock.Offsets{Monotonic: 864000e9, Boot: -90e9}
			s.lockdown, s.jit, s.bpfStats, s.ptraceScope, s.uprobesByPerf = "confidentiality", "0", "1", "3", false
		},
		"no-sysfs": func(t *trials, _ *surroundings) {
			t.btf, t.lifecycle = loader.ErrNoSysfs, loader.ErrNoSysfs
			t.tracer = fmt.Errorf("load BPF programs: %w", loader.ErrNoSysfs)
		},
		"pid-bug": func(t *trials, s *surroundings) {
			t.features = loader.Features{UprobeMultiPIDBug: true}
			t.syscall = unix.ENXIO
		},
	} {
		tr, s := works()
		change(&tr, &s)
		golden(t, name+".golden", NewReport("6.1.0-test", "amd64", 0, machine(tr, s)))
	}
}

// A probe that is accepted and does not run is as good as none.
func TestNoHits(t *testing.T) {
	tr, s := works()
	tr.multiUprobe = errNoHits
	r := NewReport("x", "amd64", 0, machine(tr, s))
	if !r.Works {
		t.Errorf("perf events would do: %+v", r.Broken())
	}
	tr.perfUprobe = errNoHits
	if r := NewReport("x", "amd64", 0, machine(tr, s)); r.Works {
		t.Error("no way to attach, and it works")
	}
}

func TestNopKind(t *testing.T) {
	for err, want := range map[error]loader.Rewriting{
		unix.ENOSYS: loader.RewritingNone, unix.ENXIO: loader.RewritingFive, unix.EPROTO: loader.RewritingTen, unix.EPERM: loader.RewritingUnknown, loader.ErrNoSyscall: loader.RewritingNone,
	} {
		if got := loader.RewritingOf(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
	if loader.RewritingOf(nil) != loader.RewritingUnknown {
		t.Error("a call that succeeds tells nothing")
	}
}

// server is a process with every kind of nop, dead pairs, a tracer and a file
// that cannot be read.
func server() subject {
	site := func(name string, nop probe.Nop) usdt.Site {
		provider, name, _ := strings.Cut(name, ":")
		return usdt.Site{Provider: provider, Name: name, Nop: nop}
	}
	elf := &usdt.File{Problems: []usdt.Problem{{Err: errors.New("x")}}, Sites: []usdt.Site{
		site("php:request__startup", probe.Nop1), site("php:request__shutdown", probe.Nop1),
		site("python:function__entry", probe.Nop5), site("python:function__return", probe.Nop5),
		site("ruby:method__entry", probe.Nop10), site("ruby:method__return", probe.Nop1Then10),
		site("app:work__start", probe.Nop1Then10), {Provider: "app", Name: "work__done", Offset: 4090, Nop: probe.Nop1Then10},
		site("hotspot:method__entry", probe.NopNone), site("hotspot:method__return", probe.NopARM),
	}}
	l := &inspect.Listing{Sites: elf.Sites, Owner: make([]int, len(elf.Sites))}
	l.Files = []inspect.File{{Path: "/usr/lib/libpython3.11.so.1.0", ELF: elf}, {Path: "/lib/gone\x1b[2J.so", Err: fs.ErrPermission}}
	l.Choices = usdt.Choose(l.Sites, nil)
	return subject{
		pid: 4242, comm: "server\x1b[2J", uid: 33, threads: 3, nsPIDs: []int{4242, 7}, container: true,
		state: "t (tracing stop)", tracer: 99, tracerName: "gdb", seccomp: "2",
		cmdline: []string{"java", "-XX:+ExtendedDTraceProbes", "Main"}, env: map[string]string{phpVariable: "0"}, listing: l,
	}
}

func TestProcessGoldens(t *testing.T) {
	for name, kernel := range map[string]loader.Rewriting{"process-five": loader.RewritingFive, "process-ten": loader.RewritingTen, "process-unknown": loader.RewritingUnknown} {
		golden(t, name+".golden", NewReport("6.1.0-test", "amd64", 4242, judgeProcess(server(), kernel)))
	}
	s := server()
	s.err = fmt.Errorf("read the memory map: %w", fs.ErrPermission)
	golden(t, "process-denied.golden", NewReport("6.1.0-test", "amd64", 4242, judgeProcess(s, loader.RewritingTen)))
}

func TestGPU(t *testing.T) {
	fake := gpu.NewFake(2)
	fake.SetStatus(1, gpu.StatusLost)
	for _, c := range judgeGPU(lookAtGPU(func() (gpu.Source, error) { return fake, nil }, gpuTime)) {
		if want := map[string]Result{"nvml": OK, "gpu_memory": Warn}[c.Name]; c.Result != want || c.Required {
			t.Errorf("%+v", c)
		}
	}
	release := make(chan struct{})
	defer close(release)
	hang := func() (gpu.Source, error) { <-release; return nil, errors.New("late") }
	if c := judgeGPU(lookAtGPU(hang, 1))[0]; c.Result != Missing || c.Remedy == "" {
		t.Errorf("a driver that hangs: %+v", c)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	r := NewReport("6.1", "amd64", 4242, judgeProcess(server(), loader.RewritingFive))
	if err := WriteJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	var again Report
	if err := d.Decode(&again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*r, again); diff != "" {
		t.Error(diff)
	}
}
