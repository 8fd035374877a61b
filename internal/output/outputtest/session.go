// SPDX-License-Identifier: Apache-2.0

package outputtest

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
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
	Start   stream.Start
	Records []stream.Record // in order
	Summary stream.Summary

	recorder *recorder.Recorder
	process  *stream.Process
	threads  map[int]*stream.Thread
	now      int64
	starts   map[uint64]int64 // of open scopes, and of those that ended
	inner    map[uint64]int64 // ns in scopes directly inside
}

// Play hands the whole session to a sink, with a flush after each record, and
// returns the first error.
func (s *Session) Play(sink stream.Sink) error {
	if err := sink.Start(&s.Start); err != nil {
		return err
	}
	for _, r := range s.Records {
		if err := sink.Record(r); err != nil {
			return err
		}
		if err := sink.Flush(); err != nil {
			return err
		}
	}
	return sink.End(&s.Summary)
}

func newSession(name, host string, process *stream.Process) *Session {
	return &Session{
		Name: name, recorder: recorder.New(recorder.Limits{}), process: process,
		threads: map[int]*stream.Thread{}, now: Begin, starts: map[uint64]int64{}, inner: map[uint64]int64{},
		Start: stream.Start{
			Time: Begin, Unix: Wall, SessionID: name, Host: host, Version: "v0.1.0", Kernel: "6.12.0",
			Processes: []*stream.Process{process},
		},
	}
}

func (s *Session) thread(tid int, name string) *stream.Thread {
	t := s.threads[tid]
	if t == nil {
		t = &stream.Thread{TID: tid, HostTID: tid, ContainerTID: tid, Name: name, Process: s.process}
		s.threads[tid] = t
	}
	return t
}

func (s *Session) after(d time.Duration) { s.now += int64(d) }

func unix(t int64) int64 { return Wall + t - Begin }

// enter opens a scope and appends its boundary.
func (s *Session) enter(t *stream.Thread, lane, name, attributes string) (recorder.Token, *stream.Boundary) {
	key := recorder.Key{SessionID: s.Name, Rank: s.process.Rank, ThreadID: t.TID, Lane: lane}
	token, b, err := s.recorder.Enter(key, t.Name, name, []byte(attributes))
	if err != nil {
		panic(err)
	}
	s.starts[b.Scope] = s.now
	r := &stream.Boundary{Boundary: b, Time: s.now, Unix: unix(s.now), Thread: t,
		Marker: &stream.Marker{Provider: "phasetrace", Probe: "enter", Path: "/opt/train", Offset: 0x1136}}
	s.Records = append(s.Records, r)
	return token, r
}

// exit closes a scope and appends its boundary.
func (s *Session) exit(t *stream.Thread, token recorder.Token) *stream.Boundary {
	b, err := s.recorder.Exit(token, t.TID)
	if err != nil {
		panic(err)
	}
	d := s.now - s.starts[b.Scope]
	s.inner[b.Parent] += d
	r := &stream.Boundary{Boundary: b, Time: s.now, Unix: unix(s.now), Thread: t, Duration: d, Self: d - s.inner[b.Scope],
		Marker: &stream.Marker{Provider: "phasetrace", Probe: "exit", Path: "/opt/train", Offset: 0x1180}}
	s.Records = append(s.Records, r)
	return r
}

// violate makes an exit that the recorder refuses and appends the violation.
func (s *Session) violate(t *stream.Thread, token recorder.Token, repaired stream.Repair) *stream.Violation {
	_, err := s.recorder.Exit(token, t.TID)
	broken, ok := err.(*recorder.ProtocolError)
	if !ok {
		panic(err)
	}
	v := &stream.Violation{Time: s.now, Unix: unix(s.now), Thread: t, Err: broken, Repaired: repaired,
		Marker:       &stream.Marker{Provider: "phasetrace", Probe: "exit", Path: "/opt/train", Offset: 0x1180},
		ClosingStart: s.starts[broken.Closing.Scope], TopStart: s.starts[broken.Top.Scope]}
	s.Records = append(s.Records, v)
	return v
}

func reading(device int, used uint64) gpu.Reading {
	const total = 80 << 30
	return gpu.Reading{Device: device, Status: gpu.StatusOK, Used: gpu.Bytes(used),
		Free: gpu.Bytes(total - used), Total: gpu.Bytes(total), Reserved: gpu.Bytes(512 << 20),
		Age: -52_000, Latency: 11_600, After: gpu.Bytes(used), AfterAge: 131_000, Low: used, High: used}
}
