// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"time"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/phasetrace/phasetrace/bpf"
)

// HoldTime is the longest time that a target which runs a program nobody has
// looked at yet waits at its first instruction for ReleaseExec: looking takes
// a few ms, attaching a grace period of the kernel's RCU (some 40 ms on busy
// machines). Once a file has been waited for in vain, nobody waits for it
// again.
const HoldTime = 200 * time.Millisecond

// HoldsExecs says whether targets can be made to wait: the waiting program has
// to be one that can be preempted, with no RCU reader held.
func (t *Tracer) HoldsExecs() bool { return t.features.Sleepable }

// HoldExecs makes targets wait after exec, in the dynamic linker at path, at
// its entry point with the given file offset. It does nothing, and returns nil,
// where HoldsExecs says no.
func (t *Tracer) HoldExecs(path string, offset uint64) (*Attachment, error) {
	if !t.HoldsExecs() {
		return nil, nil
	}
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, fmt.Errorf("hold new programs: %w", err)
	}
	if t.hold == nil {
		programs, _, err := t.loadPrograms(func(p *ebpf.ProgramSpec) error {
			t.asMarker(p)
			return nil
		}, bpf.PhasetraceProgExecHold)
		if err != nil {
			return nil, err
		}
		t.hold = programs[bpf.PhasetraceProgExecHold]
	}
	// Whoever is not to wait is through at once, and attaching for one process
	// would not outlive an exec of one of its threads.
	l, err := t.attachOne(ex, 0, t.hold, boundSite{Site: probe.Site{Offset: offset}})
	if err != nil {
		return nil, fmt.Errorf("hold new programs: %w", explainAttach(err))
	}
	return t.attached.keep(newAttachment([]link.Link{l})), nil
}

// Held reports whether a process is to wait after exec, whether or not it has
// begun to. pid is in phasetrace's own PID namespace.
func (t *Tracer) Held(pid int) bool {
	var key bpf.PhasetraceExeKey
	return t.maps[bpf.PhasetraceMapHeld].Lookup(uint32(pid), &key) == nil
}

// Waiting reports whether a process has begun to wait after exec and still
// does: then it has run no instruction of its own. pid is in phasetrace's own
// PID namespace.
func (t *Tracer) Waiting(pid int) bool {
	var key bpf.PhasetraceExeKey
	err := t.maps[bpf.PhasetraceMapHeld].Lookup(uint32(pid), &key)
	return err == nil && key.Waiting != 0
}

// ReleaseExec lets a process go on that waits after exec. pid is in
// phasetrace's own PID namespace. known: the file has been looked at, and who
// runs it later need not wait. It is no error when nobody waits.
func (t *Tracer) ReleaseExec(pid int, f event.File, known bool) error {
	var errs []error
	if known {
		errs = append(errs, t.maps[bpf.PhasetraceMapKnownFiles].Put(exeKey(f), uint8(1)))
	}
	if err := t.maps[bpf.PhasetraceMapHeld].Delete(uint32(pid)); !errors.Is(err, ebpf.ErrKeyNotExist) {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("let process %d go on: %w", pid, err)
	}
	return nil
}

// ForgetExec makes who runs a file wait again, after ReleaseExec with known.
func (t *Tracer) ForgetExec(f event.File) {
	// Nothing can be done about an error; at worst nobody waits.
	_ = t.maps[bpf.PhasetraceMapKnownFiles].Delete(exeKey(f))
}

func exeKey(f event.File) bpf.PhasetraceExeKey {
	return bpf.PhasetraceExeKey{Ino: f.Inode, Dev: f.Device, Changed: f.Changed, Size: f.Size}
}
