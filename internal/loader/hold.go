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

// HoldTime is the longest a target that runs a new program waits at its first
// instruction for ReleaseExec. Looking at the program takes a few ms, attaching a
// grace period of the kernel's RCU (some 40 ms on busy machines). Once a wait for
// a file was in vain, nobody waits for it again.
const HoldTime = 200 * time.Millisecond

// HoldsExecs says whether targets can be made to wait: the BPF program that waits
// has to be preemptible, with no RCU reader held.
func (t *Tracer) HoldsExecs() bool { return t.features.Sleepable }

// HoldExecs makes targets wait after exec, in the dynamic linker at path, at
// its entry point with the given file offset. It does nothing, and returns nil,
// where HoldsExecs says no.
func (t *Tracer) HoldExecs(path string, offset uint64) (*Attachment, error) {
	if !t.HoldsExecs() {
		return nil, nil
	}
	at, err := t.attachHold(&t.hold, bpf.PhasetraceProgExecHold, path, offset)
	if err != nil {
		return nil, fmt.Errorf("hold new programs: %w", explainAttach(err))
	}
	return at, nil
}

// WatchStart makes targets tell, with an event.FileStart, when they are about
// to run the instruction at a file offset of the file at path, and wait there
// for ReleaseHeld, for HoldTime at the longest, where HoldsExecs says that they can.
func (t *Tracer) WatchStart(path string, offset uint64) (*Attachment, error) {
	at, err := t.attachHold(&t.start, bpf.PhasetraceProgFileStart, path, offset)
	if err != nil {
		return nil, fmt.Errorf("watch a file's start: %w", err)
	}
	return at, nil
}

// attachHold puts a program in which targets wait under an instruction of a
// file, for all processes: whoever is not to wait is through at once, and
// attaching for one process would not outlive an exec of one of its threads.
func (t *Tracer) attachHold(prog **ebpf.Program, name, path string, offset uint64) (*Attachment, error) {
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, err
	}
	if *prog == nil {
		programs, _, err := t.loadPrograms(func(p *ebpf.ProgramSpec) error {
			t.asMarker(p)
			return nil
		}, name)
		if err != nil {
			return nil, err
		}
		*prog = programs[name]
	}
	l, err := t.attachOne(ex, 0, *prog, boundSite{Site: probe.Site{Offset: offset}})
	if err != nil {
		return nil, explainAttach(err)
	}
	return t.attached.keep(&Attachment{links: []link.Link{l}}), nil
}

// Held reports whether a process is to wait after exec, even if it has not begun
// to. pid is in phasetrace's own PID namespace.
func (t *Tracer) Held(pid int) bool {
	var held bpf.PhasetraceHeldExec
	return t.maps[bpf.PhasetraceMapHeld].Lookup(uint32(pid), &held) == nil
}

// Waiting reports whether a process has begun to wait and still does: after
// exec, with no instruction run of its own, or at a file's start. pid is in
// phasetrace's own PID namespace.
func (t *Tracer) Waiting(pid int) bool {
	var held bpf.PhasetraceHeldExec
	err := t.maps[bpf.PhasetraceMapHeld].Lookup(uint32(pid), &held)
	return err == nil && held.Waiting != 0
}

// ReleaseExec lets a process go on that waits after exec; not one that waits at a
// file's start. pid is in phasetrace's own PID namespace. known: the file has
// been looked at, and processes that run it later need not wait. It is not an
// error if nobody waits.
func (t *Tracer) ReleaseExec(pid int, f event.File, known bool) error {
	key := exeKey(f)
	if known {
		if err := t.maps[bpf.PhasetraceMapKnownFiles].Put(key, uint8(1)); err != nil {
			return fmt.Errorf("let process %d go on: %w", pid, err)
		}
	}
	var held bpf.PhasetraceHeldExec
	if err := t.maps[bpf.PhasetraceMapHeld].Lookup(uint32(pid), &held); err == nil && held.File != key {
		return nil
	}
	return t.ReleaseHeld(pid)
}

// ReleaseHeld lets a process go on wherever it waits. pid is in phasetrace's own PID
// namespace. It is no error when it does not wait.
func (t *Tracer) ReleaseHeld(pid int) error {
	err := t.maps[bpf.PhasetraceMapHeld].Delete(uint32(pid))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("let process %d go on: %w", pid, err)
	}
	return nil
}

// ForgetExec makes processes that run a file wait again, after ReleaseExec with
// known.
func (t *Tracer) ForgetExec(f event.File) {
	// Nothing can be done about an error; at worst nobody waits.
	_ = t.maps[bpf.PhasetraceMapKnownFiles].Delete(exeKey(f))
}

func fileOf(k bpf.PhasetraceExeKey) event.File {
	return event.File{Device: k.Dev, Generation: k.Generation, Inode: k.Ino, Changed: k.Changed, Size: k.Size}
}

func exeKey(f event.File) bpf.PhasetraceExeKey {
	return bpf.PhasetraceExeKey{Ino: f.Inode, Dev: f.Device, Generation: f.Generation, Changed: f.Changed, Size: f.Size}
}
