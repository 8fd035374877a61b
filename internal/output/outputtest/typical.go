// SPDX-License-Identifier: Apache-2.0

package outputtest

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Typical is a training program in a container with two GPUs, one of which
// cannot be read. It has a record of every kind.
func Typical() *Session {
	s := newSession("s1", "node7", &stream.Process{
		PID: 4242, HostPID: 4242, ContainerPID: 7, Comm: "train", Exe: "/opt/train",
		Rank: 0, RankSource: "OMPI_COMM_WORLD_RANK", StartTime: 8_400,
	})
	s.Start.Pairs = []stream.PairInfo{{Name: "from argument 1", Provider: "phasetrace", Enter: "enter",
		Exits: []string{"exit"}, Origin: "markers", Sites: 2}}
	s.Start.Devices = devices()
	main := s.thread(4242, "train")
	main.ContainerTID = 7
	worker := s.thread(4243, "worker")
	worker.ContainerTID = 8

	s.after(1234 * time.Microsecond)
	s.enter(main, "", "train", `{"epochs":2}`)
	s.after(300 * time.Microsecond)
	step, b := s.enter(main, "", "step", `{"epoch":1,"loss":0.25,"file":"batch 7.bin"}`)
	b.GPU = []gpu.Reading{reading(0, 20<<30), {Device: 1, Status: gpu.StatusLost, Age: -90_000, Latency: 4_000}}
	b.ProcessGPU = []gpu.ProcessReading{
		{Status: gpu.StatusOK, Used: gpu.Bytes(18 << 30), Age: -400_000_000, Latency: 2_100_000, Others: 1},
		{Status: gpu.StatusNotListed, Age: -410_000_000, Latency: 1_900_000},
	}
	b.Resident = stream.Resident{Bytes: 3 << 30, Known: true, Error: 1 << 20}
	s.sample(0, 21<<30)
	s.after(100 * time.Millisecond)
	s.stepExit(main, step)
	s.sample(1, 0)

	s.after(time.Millisecond)
	s.trouble(main, worker)
	s.summarise()
	return s
}

func devices() []gpu.Device {
	return []gpu.Device{
		{ID: 0, Index: 0, MIG: -1, UUID: "GPU-5a1e0000-0000-0000-0000-000000000001", Name: "NVIDIA H200"},
		{ID: 1, Index: 1, MIG: 2, UUID: "", Name: ""},
	}
}

func (s *Session) stepExit(t *stream.Thread, token recorder.Token) {
	b := s.exit(t, token)
	ok := reading(0, 20<<30+512<<20)
	ok.Change, ok.Peak, ok.Samples = gpu.Delta{N: 512 << 20, Known: true}, gpu.Bytes(21<<30), 3
	ok.After, ok.Low = gpu.Bytes(20<<30), 20<<30
	ok.ChangeLow, ok.ChangeHigh = 0, 512<<20
	ok.Doubt, ok.ChangeDoubt = gpu.DoubtMoved, gpu.DoubtMoved|gpu.DoubtProcesses
	b.GPU = []gpu.Reading{ok, {Device: 1}}
	b.HasCounters = true
	b.Counters = stream.Counters{VoluntarySwitches: 2, InvoluntarySwitches: 1, MinorFaults: 11}
	b.Resident = stream.Resident{Bytes: 3<<30 + 4096, Change: 4096, Known: true, ChangeKnown: true}
}

// sample appends a device read, a millisecond later.
func (s *Session) sample(device int, used uint64) {
	s.after(time.Millisecond)
	s.read(device, used)
}

// read appends a device read. Device 1 is lost.
func (s *Session) read(device int, used uint64) {
	g := &stream.Sample{Unix: unix(s.now), Device: devices()[device]}
	g.Sample = gpu.Sample{Device: device, Start: s.now - 5_800, Mid: s.now, End: s.now + 5_800, Status: gpu.StatusLost}
	if used > 0 {
		r := reading(device, used)
		g.Used, g.Free, g.Total, g.Reserved, g.Status = r.Used, r.Free, r.Total, r.Reserved, gpu.StatusOK
	}
	g.Phase = s.recorder.Attribute(recorder.Question{}, nil)
	s.Records = append(s.Records, g)
}

// trouble appends what goes wrong in a session.
func (s *Session) trouble(main, worker *stream.Thread) {
	outer, _ := s.enter(worker, "", "load", "")
	s.after(time.Millisecond)
	inner, _ := s.enter(worker, "", "read", `{"raw":"not JSON"}`)
	s.read(0, 20<<30) // while main is in train
	s.violate(worker, outer, stream.RepairUnwound)
	b := s.exit(worker, inner)
	b.Marker, b.Synthetic = nil, stream.ReasonUnwound
	s.after(2 * time.Millisecond)
	s.exit(worker, outer)
	s.violate(worker, outer, stream.RepairNothing)

	s.Records = append(s.Records,
		&stream.Orphan{Time: s.now, Unix: unix(s.now), Thread: worker, Reason: stream.OrphanBeforeAttach,
			Marker: &stream.Marker{Provider: "phasetrace", Probe: "exit", Path: "/opt/train", Offset: 0x1180}},
		&stream.Loss{Time: s.now, Unix: unix(s.now), Thread: worker, Count: 1234},
		&stream.Dropped{Time: s.now + 1000, Unix: unix(s.now + 1000), Until: s.now + 999_000,
			Counts: stream.Counts{Boundaries: 1200, Violations: 1, Orphans: 2, Losses: 3, ProcessChanges: 4, Samples: 50}})

	child := &stream.Process{PID: 4300, HostPID: 0, ContainerPID: 9, Comm: "helper", Exe: "/opt/helper", Rank: 0, Parent: 4242}
	s.after(time.Millisecond)
	s.Records = append(s.Records, &stream.ProcessChange{Time: s.now, Unix: unix(s.now), Process: child, Started: true, Exec: true})
	titled := *child
	titled.Title = "helper: batch 7"
	child = &titled
	s.Records = append(s.Records, &stream.ProcessChange{Time: s.now, Unix: unix(s.now), Process: child, Titled: true})
	s.keyed(main, worker)
	s.Records = append(s.Records,
		&stream.PairChange{Time: s.now, Unix: unix(s.now), Name: "load", Provider: "app", Enter: "load__start", Share: 0.0625, Budget: 0.05},
		&stream.PairChange{Time: s.now, Unix: unix(s.now), Provider: "phasetrace", Enter: "enter", Part: 0.125, Share: 0.0625, Budget: 0.05},
		&stream.PairChange{Time: s.now, Unix: unix(s.now), Name: "load", Provider: "app", Enter: "load__start", Part: 1, Share: 0.01, Budget: 0.05, Trial: true},
		&stream.PairChange{Time: s.now, Unix: unix(s.now), Name: "load", Provider: "app", Enter: "load__start", Share: 0.0625, Budget: 0.05, ForGood: true},
		&stream.ProcessChange{Time: s.now, Unix: unix(s.now), Process: child, HasExit: true, ExitCode: 3 << 8},
		&stream.ProcessChange{Time: s.now, Unix: unix(s.now), Process: s.process, HasExit: true, ExitCode: 9, In: []string{"load / read", "request"}},
		&stream.ProcessChange{Time: s.now, Unix: unix(s.now), Process: child, Removed: true})
}

// keyed appends a scope that ends on another thread, and one on a lane whose
// enter was lost.
func (s *Session) keyed(main, worker *stream.Thread) {
	token, b := s.enter(main, "requests", "request", "")
	b.Marker = &stream.Marker{Provider: "server", Probe: "request__start", Path: "/opt/libserver.so", Offset: 0x40}
	b.Key, b.Keyed = stream.KeyOf(1<<63+5), true
	s.after(40 * time.Millisecond)
	b = s.exit(main, token)
	b.Marker = &stream.Marker{Provider: "server", Probe: "request__done", Path: "/opt/libserver.so", Offset: 0x80, Outcome: "aborted"}
	b.Key, b.Keyed, b.ExitThread = stream.KeyOf(1<<63+5), true, worker
	b.ExitAttributes = []byte(`{"status":404,"reason":"not found"}`)

	lost, b := s.enter(worker, "", stream.LostName, "")
	b.Marker, b.Synthetic = nil, stream.ReasonLost
	s.after(time.Millisecond)
	s.exit(worker, lost)
}
