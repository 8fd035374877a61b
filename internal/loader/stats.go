// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"

	"github.com/cilium/ebpf"

	"github.com/phasetrace/phasetrace/bpf"
)

// Stats accounts for every record the programs made or could not make.
type Stats struct {
	Received      uint64 // markers read
	Malformed     uint64 // records read that could not be decoded: a defect of phasetrace
	Lost          uint64 // markers: the ring buffer was full
	LostNoState   uint64 // markers: no memory for a thread's state
	LostLifecycle uint64 // thread, exit, exec and fork records
	Unattributed  uint64 // of the lost markers: of an unknown thread
	Missed        uint64 // marker hits for which the kernel did not run the program
	// MissedLives: forks, execs and ends for which it did not. A preemptible kernel
	// runs such a program once at a time on a CPU (bpf_trace_run,
	// kernel/trace/bpf_trace.c).
	MissedLives uint64
}

// Stats reads the counters.
func (t *Tracer) Stats() (Stats, error) {
	s := Stats{Received: t.counters.received.Load(), Malformed: t.counters.malformed.Load()}
	for counter, out := range map[bpf.PhasetraceDropCounter]*uint64{
		bpf.PhasetraceDropCounterDROP_MARKER:       &s.Lost,
		bpf.PhasetraceDropCounterDROP_LIFECYCLE:    &s.LostLifecycle,
		bpf.PhasetraceDropCounterDROP_NO_STATE:     &s.LostNoState,
		bpf.PhasetraceDropCounterDROP_UNATTRIBUTED: &s.Unattributed,
	} {
		var perCPU []uint64
		if err := t.maps[bpf.PhasetraceMapDrops].Lookup(uint32(counter), &perCPU); err != nil {
			return s, fmt.Errorf("read the loss counters: %w", err)
		}
		for _, n := range perCPU {
			*out += n
		}
	}
	t.lives.Lock()
	defer t.lives.Unlock()
	s.Missed = t.missed
	for _, p := range t.programs {
		// Not every kernel reports this; the others add nothing.
		if p.Type() == ebpf.Tracing {
			s.MissedLives += missedBy(p)
		} else {
			s.Missed += missedBy(p)
		}
	}
	return s, nil
}

func missedBy(p *ebpf.Program) uint64 {
	if stats, err := p.Stats(); err == nil {
		return stats.RecursionMisses
	}
	return 0
}

// retire closes a program that no longer serves anything.
func (t *Tracer) retire(p *ebpf.Program) {
	t.lives.Lock()
	defer t.lives.Unlock()
	t.missed += missedBy(p)
	t.programs = slices.DeleteFunc(t.programs, func(o *ebpf.Program) bool { return o == p })
	p.Close()
}

// LostByThread returns how many markers of each thread were lost, as the
// kernel counted them.
func (t *Tracer) LostByThread() (map[event.ThreadKey]event.ThreadLoss, error) {
	out := make(map[event.ThreadKey]event.ThreadLoss)
	var key bpf.PhasetraceLossKey
	var n uint64
	it := t.maps[bpf.PhasetraceMapLost].Iterate()
	for it.Next(&key, &n) {
		k := event.ThreadKey{TID: key.Tid, StartTime: key.StartTime}
		out[k] = event.ThreadLoss{PID: key.Tgid, Count: out[k].Count + n}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return out, fmt.Errorf("read the losses by thread: %w", err)
	}
	return out, nil
}
