// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/event"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/phasetrace/phasetrace/bpf"
)

// DefaultRingBytes is the size of all rings together, but each has at least
// 1 MiB: on two CPUs, one that makes a million records a second fills its own
// in 160 ms.
const DefaultRingBytes = 32 << 20

// Options of a Tracer. The zero value traces single processes with defaults.
type Options struct {
	// RingBytes is the size of all rings together, a power of two and a
	// multiple of the page size; 0 means DefaultRingBytes.
	RingBytes int
	// AllProcesses: sites are attached without a PID and the programs look at
	// the set of targets; needed to follow children.
	AllProcesses bool
	// FollowForks: children of targets become targets, before they run.
	FollowForks bool
	// Executables: processes that run a file of which Want has told the inode become
	// targets, before they run.
	Executables bool
	// WakeInterval: a marker wakes the reader if the last wakeup was longer ago
	// than this. 0: the reader is woken only when much is unread.
	WakeInterval time.Duration
	// MarkersOnly: nothing is told of how threads and processes live.
	MarkersOnly bool
	Without     Without
	// Aggregate counts phases in the kernel instead of recording markers; see
	// aggregate.go. AggregateReject leaves a stack as it is after a violation.
	Aggregate, AggregateReject bool
}

// Tracer owns the loaded programs, their links and the ring buffer. One goroutine
// may read (Read, Drain) while another attaches and releases; Detach and Close
// may be called only when neither happens. Stats may be called at any time.
type Tracer struct {
	opts     Options
	features Features
	spec     *ebpf.CollectionSpec
	types    *btf.Cache           // the kernel's, read once
	maps     map[string]*ebpf.Map // shared by every program
	programs []*ebpf.Program
	missed   uint64     // by programs that have been closed
	lives    sync.Mutex // guards programs and missed
	attached *attachments
	hooks    []link.Link // of lifecycle tracepoints
	bindings map[siteSpec]binding
	library  *ebpf.Program
	hold     *ebpf.Program
	start    *ebpf.Program
	end      aggregateEnd
	held     bool                          // DetachWithin has returned early
	removing atomic.Pointer[chan struct{}] // closed when the last DetachWithin is over
	rings    *rings                        // nil: everything comes through reader
	reader   *ringbuf.Reader               // the bell, where there are rings
	record   ringbuf.Record
	shapes   atomic.Pointer[shapes] // of the sites that there are
	learning sync.Mutex             // held to change shapes
	decoder  decoder
	counters counters
	// Of the Read or Drain that runs.
	handle    func(event.Event)
	handled   int
	more      bool         // the last Read left some
	deliverFn func([]byte) // deliver, made once
}

// Open loads the programs and starts to watch for exits, execs and forks. No
// site is attached yet. The caller must Close the tracer.
func Open(opts Options) (*Tracer, error) {
	// Needed below Linux 5.11 only, where memory counts against the limit.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, explainLoad(err)
	}
	features, err := DetectFeatures(opts.Without)
	if err != nil {
		return nil, err
	}
	t := &Tracer{opts: opts, features: features, types: btf.NewCache(), attached: newAttachments(), bindings: make(map[siteSpec]binding)}
	t.shapes.Store(new(shapes))
	t.deliverFn = t.deliver
	if err := t.load(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Features returns what the tracer found usable.
func (t *Tracer) Features() Features { return t.features }

func (t *Tracer) load() error {
	var err error
	if t.spec, err = bpf.LoadPhasetrace(); err != nil {
		return fmt.Errorf("read the BPF object: %w", err)
	}
	layout := t.sizeRings()
	if err := t.prepareAggregate(); err != nil {
		return err
	}
	hold := time.Duration(0)
	if t.HoldsExecs() {
		hold = HoldTime
	}
	err = t.setVariables(map[string]any{
		bpf.PhasetraceVarHoldTime:        uint64(hold),
		bpf.PhasetraceVarSleepable:       boolByte(t.features.Sleepable),
		bpf.PhasetraceVarFilterProcesses: boolByte(t.opts.AllProcesses),
		bpf.PhasetraceVarFollowForks:     boolByte(t.opts.FollowForks),
		bpf.PhasetraceVarWantExecutables: boolByte(t.opts.Executables),
		bpf.PhasetraceVarWakeInterval:    uint64(t.opts.WakeInterval),
		bpf.PhasetraceVarRingBytes:       uint32(layout.bytes),
		bpf.PhasetraceVarRingCount:       uint32(layout.count),
		bpf.PhasetraceVarStoresInOrder:   boolByte(runtime.GOARCH == "amd64"),
		bpf.PhasetraceVarOnArm64:         boolByte(runtime.GOARCH == "arm64"),
		bpf.PhasetraceVarWakeBytes:       t.wakeBytes(layout),
	})
	if err != nil {
		return err
	}
	if err := t.loadLifecycle(); err != nil {
		return err
	}
	if err := t.watchThreads(); err != nil {
		return err
	}
	if t.features.CPURings {
		if t.rings, err = mapRings(t.maps[bpf.PhasetraceMapRings], layout); err != nil {
			return err
		}
	}
	if t.reader, err = ringbuf.NewReader(t.maps[bpf.PhasetraceMapRing]); err != nil {
		return fmt.Errorf("map the ring buffer: %w", err)
	}
	return nil
}

// sizeRings sets the sizes of the maps that records go through, and returns
// the layout of the CPUs' rings, zero where there are none.
func (t *Tracer) sizeRings() (l ringLayout) {
	ring, rings := t.spec.Maps[bpf.PhasetraceMapRing], t.spec.Maps[bpf.PhasetraceMapRings]
	if !t.features.CPURings {
		ring.MaxEntries = DefaultRingBytes
		if t.opts.RingBytes > 0 {
			ring.MaxEntries = uint32(t.opts.RingBytes)
		}
		return l
	}
	ring.MaxEntries = uint32(os.Getpagesize()) // the bell
	l = layoutFor(t.opts.RingBytes, onlineCPUs())
	if !t.features.Sleepable {
		l.bytes = min(l.bytes, maxOldRingBytes)
	}
	rings.MaxEntries, rings.ValueSize = uint32(l.count), uint32(l.stride())
	return l
}

// hotBytes is how much of a ring stays in the cache of a CPU, about: a reader that is
// woken before can set the ring back, see cpuRing.rewind.
const hotBytes = 256 << 10

// wakeBytes is how much may be unread before the reader is woken.
func (t *Tracer) wakeBytes(l ringLayout) uint32 {
	if t.features.CPURings {
		return min(uint32(l.bytes)/4, hotBytes)
	}
	return t.spec.Maps[bpf.PhasetraceMapRing].MaxEntries / 4
}

func (t *Tracer) setVariables(vars map[string]any) error {
	for name, value := range vars {
		if err := t.spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set BPF constant %s: %w", name, err)
		}
	}
	return nil
}

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// loadLifecycle makes the maps, learns the tracer's own PID namespace, and
// attaches to the tracepoints of thread and process lives.
func (t *Tracer) loadLifecycle() error {
	lives := []string{bpf.PhasetraceProgProcessFork, bpf.PhasetraceProgProcessExec, bpf.PhasetraceProgProcessExit}
	if t.opts.MarkersOnly {
		lives = nil
	}
	programs, maps, err := t.loadPrograms(nil, append(lives, bpf.PhasetraceProgLocateTracer)...)
	if err != nil {
		return err
	}
	t.maps = maps
	if _, err := programs[bpf.PhasetraceProgLocateTracer].Run(&ebpf.RunOptions{}); err != nil {
		return fmt.Errorf("find the tracer's PID namespace: %w", err)
	}
	for _, name := range lives {
		l, err := link.AttachTracing(link.TracingOptions{Program: programs[name]})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		t.hooks = append(t.hooks, l)
	}
	return nil
}

// loadPrograms loads the named programs on the shared maps, and makes the maps
// the first time. change edits each program's spec.
func (t *Tracer) loadPrograms(change func(*ebpf.ProgramSpec) error, names ...string) (_ map[string]*ebpf.Program, _ map[string]*ebpf.Map, err error) {
	spec := t.spec.Copy()
	wanted := make(map[string]*ebpf.ProgramSpec)
	for _, name := range names {
		wanted[name] = spec.Programs[name]
		if change == nil {
			continue
		}
		if err := change(wanted[name]); err != nil {
			return nil, nil, err
		}
	}
	spec.Programs = wanted
	opts := ebpf.CollectionOptions{MapReplacements: make(map[string]*ebpf.Map), Cache: t.types}
	if opts.Programs.KernelTypes, err = t.types.Kernel(); err != nil {
		return nil, nil, explainLoad(err)
	}
	for name, m := range t.maps {
		opts.MapReplacements[name] = m
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, opts)
	if err != nil {
		return nil, nil, explainLoad(err)
	}
	programs, maps := coll.Programs, coll.Maps
	coll.Programs, coll.Maps = nil, nil
	t.lives.Lock()
	for _, p := range programs {
		t.programs = append(t.programs, p)
	}
	t.lives.Unlock()
	if t.maps != nil {
		for _, m := range maps {
			m.Close()
		}
	}
	return programs, maps, nil
}

// asMarker prepares a program for the way sites are attached here.
func (t *Tracer) asMarker(spec *ebpf.ProgramSpec) {
	if t.features.UprobeMulti {
		asMulti(spec)
	}
	if t.features.Sleepable {
		asSleepable(spec)
	}
}

// AddTarget makes a process a target: its end is reported and, with AllProcesses,
// its markers are recorded. pid is in phasetrace's own PID namespace.
func (t *Tracer) AddTarget(pid int) error {
	err := t.maps[bpf.PhasetraceMapTargets].Put(uint32(pid), uint8(1))
	if err != nil {
		return fmt.Errorf("register process %d: %w", pid, err)
	}
	return nil
}

// Want makes targets of the processes that begin to run an executable with this inode
// number from now on, on whatever file system: the caller looks at who has come, and
// takes back by RemoveTarget who was not meant.
func (t *Tracer) Want(inode uint64) error {
	if err := t.maps[bpf.PhasetraceMapWanted].Put(inode, uint8(1)); err != nil {
		return fmt.Errorf("register an executable: %w", err)
	}
	return nil
}

// Close detaches what is attached, unless DetachWithin has given that up, and
// frees everything. What is unread in the ring buffer is lost: Detach and Drain
// first.
func (t *Tracer) Close() error {
	var errs []error
	if t.held {
		t.detachRest()
	} else {
		errs = append(errs, t.Detach(nil))
	}
	if t.reader != nil {
		errs = append(errs, t.reader.Close())
	}
	if t.rings != nil {
		errs = append(errs, t.rings.close())
	}
	t.lives.Lock()
	for _, p := range t.programs {
		errs = append(errs, p.Close())
	}
	t.programs = nil
	t.lives.Unlock()
	for _, m := range t.maps {
		errs = append(errs, m.Close())
	}
	t.maps = nil
	if err := errors.Join(errs...); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close the tracer: %w", err)
	}
	return nil
}

// RemoveTarget undoes AddTarget. It is not an error if the process has ended.
func (t *Tracer) RemoveTarget(pid int) error {
	err := t.maps[bpf.PhasetraceMapTargets].Delete(uint32(pid))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("let go of process %d: %w", pid, err)
	}
	return nil
}
