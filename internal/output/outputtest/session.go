// SPDX-License-Identifier: Apache-2.0

package outputtest

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/trace"
)

// Begin is when the sessions begin, and Wall the Unix time of that moment, both
// in ns.
const (
	Begin = int64(84_000_000_000)
	Wall  = int64(1_790_000_000_000_000_000)
)

// Session is a stream of records and what makes them.
type Session struct {
	Name    string // of the session
	Start   trace.Start
	Records []any // *trace.Boundary, *trace.Violation, … in order
	Summary trace.Summary

	recorder *recorder.Recorder
	process  *trace.Process
	threads  map[int]*trace.Thread
	now      int64
	starts   map[uint64]int64
}

// Play hands the whole session to a sink, with a flush after each record, and
// returns the first error.
func (s *Session) Play(sink trace.Sink) error {
	if err := sink.Start(&s.Start); err != nil {
		return err
	}
	for _, r := range s.Records {
		if err := Hand(sink, r); err != nil {
			return err
		}
		if err := sink.Flush(); err != nil {
			return err
		}
	}
	return sink.End(&s.Summary)
}

// Hand gives a sink one record of the stream. It panics on a type that is none.
func Hand(sink trace.Sink, record any) error {
	switch r := record.(type) {
	case *trace.Boundary:
		return sink.Boundary(r)
	case *trace.Violation:
		return sink.Violation(r)
	case *trace.Orphan:
		return sink.Orphan(r)
	case *trace.Loss:
		return sink.Loss(r)
	case *trace.GPUSample:
		return sink.GPUSample(r)
	case *trace.ProcessChange:
		return sink.Process(r)
	}
	panic("outputtest: not a record")
}

func newSession(name, host string, process *trace.Process) *Session {
	return &Session{
		Name: name, recorder: recorder.New(recorder.Limits{}), process: process,
		threads: map[int]*trace.Thread{}, now: Begin, starts: map[uint64]int64{},
		Start: trace.Start{
			Time: Begin, Unix: Wall, SessionID: name, Host: host, Version: "v0.1.0", Kernel: "6.12.0",
			Processes: []*trace.Process{process},
		},
	}
}

func (s *Session) thread(tid int, name string) *trace.Thread {
	t := s.threads[tid]
	if t == nil {
		t = &trace.Thread{TID: tid, HostTID: tid, ContainerTID: tid, Name: name, Process: s.process}
		s.threads[tid] = t
	}
	return t
}

func (s *Session) after(d time.Duration) { s.now += int64(d) }

func unix(t int64) int64 { return Wall + t - Begin }

// enter opens a scope and appends its boundary.
func (s *Session) enter(t *trace.Thread, lane, name, attributes string) (recorder.Token, *trace.Boundary) {
	key := recorder.Key{SessionID: s.Name, Rank: s.process.Rank, ThreadID: t.TID, Lane: lane}
	token, b, err := s.recorder.Enter(key, t.Name, name, []byte(attributes))
	if err != nil {
		panic(err)
	}
	s.starts[b.Scope] = s.now
	r := &trace.Boundary{Boundary: b, Time: s.now, Unix: unix(s.now), Thread: t,
		Marker: &trace.Marker{Provider: "phasetrace", Probe: "enter", Path: "/opt/train", Offset: 0x1136}}
	s.Records = append(s.Records, r)
	return token, r
}

// exit closes a scope and appends its boundary.
func (s *Session) exit(t *trace.Thread, token recorder.Token) *trace.Boundary {
	b, err := s.recorder.Exit(token, t.TID)
	if err != nil {
		panic(err)
	}
	r := &trace.Boundary{Boundary: b, Time: s.now, Unix: unix(s.now), Thread: t, Duration: s.now - s.starts[b.Scope],
		Marker: &trace.Marker{Provider: "phasetrace", Probe: "exit", Path: "/opt/train", Offset: 0x1180}}
	s.Records = append(s.Records, r)
	return r
}

// violate makes an exit that the recorder refuses and appends the violation.
func (s *Session) violate(t *trace.Thread, token recorder.Token, repaired string) *trace.Violation {
	_, err := s.recorder.Exit(token, t.TID)
	broken, ok := err.(*recorder.ProtocolError)
	if !ok {
		panic(err)
	}
	v := &trace.Violation{Time: s.now, Unix: unix(s.now), Thread: t, Err: broken, Repaired: repaired,
		Marker:       &trace.Marker{Provider: "phasetrace", Probe: "exit", Path: "/opt/train", Offset: 0x1180},
		ClosingStart: s.starts[broken.Closing.Scope], TopStart: s.starts[broken.Top.Scope]}
	s.Records = append(s.Records, v)
	return v
}

func reading(device int, used uint64) gpu.Reading {
	const total = 80 << 30
	return gpu.Reading{Device: device, Status: gpu.StatusOK, Used: gpu.Bytes(used),
		Free: gpu.Bytes(total - used), Total: gpu.Bytes(total), Reserved: gpu.Bytes(512 << 20),
		Age: -52_000, Latency: 11_600}
}
