// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/loader"
)

// trials are what came of trying. Each error is nil when the feature works.
type trials struct {
	load        error // a BPF program of the kind that probes run
	btf         error
	ring        error
	taskStorage error
	lifecycle   error // tracepoints with kernel types
	cookies     error
	perfUprobe  error // a marker of our own fires, through a perf event
	multiUprobe error // and through uprobe_multi
	tracer      error // phasetrace's own programs load and attach
	features    loader.Features
	syscall     error // what system call 336 says
}

// try tries everything. It attaches, for a moment, to a marker in this very
// process and to nothing else.
func try() trials {
	loader.LearnKernel()
	t := trials{
		load: tryLoad(), btf: tryBTF(), ring: tryRing(),
		taskStorage: tryTaskStorage(),
		lifecycle:   tryLifecycle(),
		cookies:     features.HaveProgramHelper(ebpf.Kprobe, asm.FnGetAttachCookie),
		perfUprobe:  tryMarker(false),
		multiUprobe: tryMarker(true),
		syscall:     loader.UprobeSyscall(),
	}
	t.features, _ = loader.DetectFeatures(loader.Without{}) // fails as load and btf do
	t.tracer = tryTracer()
	if none := loader.MissingSysfs(); none != nil && t.btf != nil {
		for _, err := range []*error{&t.btf, &t.lifecycle, &t.perfUprobe} { // what is looked up there
			if *err != nil && !denied(*err) {
				*err = none
			}
		}
	}
	return t
}

func returnZero() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
}

const gpl = "Dual MIT/GPL"

func tryLoad() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Kprobe, Instructions: returnZero(), License: gpl})
	if err != nil {
		return err
	}
	return p.Close()
}

const btfPath = "/sys/kernel/btf/vmlinux"

func tryBTF() error {
	f, err := os.Open(btfPath)
	if err != nil {
		return err
	}
	defer f.Close()
	var magic [2]byte
	if _, err := f.Read(magic[:]); err != nil {
		return fmt.Errorf("read %s: %w", btfPath, err)
	}
	return nil
}

func tryRing() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())})
	if err != nil {
		return err
	}
	return m.Close()
}

// tryTaskStorage looks for the map and for the helper in programs of probes,
// which came later.
func tryTaskStorage() error {
	if err := features.HaveMapType(ebpf.TaskStorage); err != nil {
		return err
	}
	return features.HaveProgramHelper(ebpf.Kprobe, asm.FnTaskStorageGet)
}

func tryLifecycle() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "sched_process_exit",
		Instructions: returnZero(), License: gpl,
	})
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		return err
	}
	return l.Close()
}

// cookie is what each hit of the trial adds up.
const cookie = 7

// tryMarker attaches to a marker of this process, passes it a few times and
// counts: the whole way of a hit, with its cookie and its filter by process.
func tryMarker(multi bool) (err error) {
	sum, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return err
	}
	defer sum.Close()
	spec := &ebpf.ProgramSpec{Type: ebpf.Kprobe, License: gpl, Instructions: asm.Instructions{
		asm.FnGetAttachCookie.Call(),
		asm.LoadMapValue(asm.R1, sum.FD(), 0),
		asm.StoreXAdd(asm.R1, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}}
	if multi {
		spec.AttachType = ebpf.AttachTraceUprobeMulti
	}
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		return err
	}
	defer prog.Close()
	if err := passMarker(prog, multi); err != nil {
		return err
	}
	var got uint64
	if err := sum.Lookup(uint32(0), &got); err != nil {
		return fmt.Errorf("read the count: %w", err)
	}
	if want := uint64(cookie * passes); got != want {
		return fmt.Errorf("%w: %d of %d hits of a marker arrived", errNoHits, got/cookie, passes)
	}
	return nil
}

var errNoHits = errors.New("the kernel accepts a probe and does not run it")

const passes = 3

func passMarker(prog *ebpf.Program, multi bool) error {
	offset, err := ownMarker()
	if err != nil {
		return err
	}
	self, err := link.OpenExecutable("/proc/self/exe")
	if err != nil {
		return err
	}
	var l link.Link
	if multi {
		l, err = self.UprobeMulti(nil, prog, &link.UprobeMultiOptions{
			Addresses: []uint64{offset}, Cookies: []uint64{cookie}, PID: uint32(os.Getpid()),
		})
	} else {
		l, err = self.Uprobe("", prog, &link.UprobeOptions{Address: offset, Cookie: cookie, PID: os.Getpid()})
	}
	if err != nil {
		return err
	}
	for range passes {
		marker()
	}
	return l.Close()
}

// tryTracer loads and attaches what a trace does, except its sites.
func tryTracer() error {
	t, err := loader.Open(loader.Options{RingBytes: 1 << 20})
	if err != nil {
		return err
	}
	return t.Close()
}

// denied reports whether an error is a lack of privileges.
func denied(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, loader.ErrPermission)
}

// short keeps the first line of an error: verifier logs run to pages.
func short(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}
