// SPDX-License-Identifier: Apache-2.0

package outputtest

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// summarise makes a summary whose paths and violations are those of the
// records. Its counts are larger than the stream, to be worth a table.
func (s *Session) summarise() {
	sum := stream.Summary{
		SessionID: s.Name, Time: s.now, Unix: unix(s.now), Elapsed: time.Duration(s.now - Begin), EndReason: "target_exit",
		Boundaries: 20_014, Synthetic: 2, Received: 20_013, Lost: 1_234, LostOther: 1, Orphans: 1,
		OrphanReasons: []stream.OrphanCount{{Reason: stream.OrphanBeforeAttach, Count: 1}},
		Dropped:       stream.Counts{Boundaries: 1200, Violations: 1, Orphans: 2, Losses: 3, ProcessChanges: 4, Samples: 50},
		Devices:       s.Start.Devices, GPUSamples: 3,
		ZeroSites: []stream.ZeroSite{{
			Marker: stream.Marker{Provider: "python", Probe: "function__entry", Path: "/usr/bin/python3", Offset: 0x99},
			Remedy: "CPython fires it only when built with --with-dtrace",
		}, {Marker: stream.Marker{Provider: "phasetrace", Probe: "exit", Path: "/opt/train", Offset: 0x2000}}},
		Notes: []stream.Note{{What: "attributes were no JSON object and are kept as text under raw", Count: 1}},
	}
	sum.Cost = s.cost()
	sum.Parts = []stream.PairPart{
		{Name: "load", Provider: "app", Enter: "load__start", LeftOut: 0.88, Cuts: 3, Budget: 0.05, ForGood: true},
		{Provider: "phasetrace", Enter: "enter", LeftOut: 0.25, Cuts: 1, Part: 0.125, Budget: 0.05},
	}
	seen := map[*recorder.Path]bool{}
	var peak stream.RunPeak // of device 0, the one that can be read
	for _, r := range s.Records {
		switch r := r.(type) {
		case *stream.Boundary:
			if !seen[r.Path] {
				seen[r.Path] = true
				sum.Paths = append(sum.Paths, pathStats(r.Path))
			}
		case *stream.Violation:
			sum.Violations = append(sum.Violations, stream.ViolationCount{First: *r, Count: 40})
			sum.ViolationTotal += 40
		case *stream.Sample:
			if r.Used.Known && r.Used.N > peak.Used.N {
				peak = stream.RunPeak{Device: r.Sample.Device, Used: r.Used, Time: r.Mid, Phase: r.Phase}
			}
		}
	}
	if peak.Used.Known {
		sum.RunPeak = append(sum.RunPeak, peak)
	}
	sum.RunPeak = append(sum.RunPeak, stream.RunPeak{Device: 1})
	closed := map[uint64]bool{}
	for _, r := range s.Records {
		if b, ok := r.(*stream.Boundary); ok && b.Action == recorder.Exit {
			closed[b.Scope] = true
		}
	}
	for _, r := range s.Records {
		if b, ok := r.(*stream.Boundary); ok && b.Action == recorder.Enter && len(sum.Open) < 2 && !closed[b.Scope] {
			sum.Open = append(sum.Open, stream.OpenPhase{
				Path: b.Path, SessionID: b.SessionID, Scope: b.Scope, Lane: b.Lane, Thread: b.Thread, Since: b.Time, Attributes: b.Attributes,
			})
			sum.OpenTotal++
		}
	}
	s.Summary = sum
}

// cost is that of the session's process, and of one of whose end nobody told.
func (s *Session) cost() *stream.TracingCost {
	pairs := []stream.PairCost{
		{Name: "step", Hits: 12_000, Cost: 7_800 * time.Microsecond}, {Name: "load", Hits: 8_000, Cost: 5_200 * time.Microsecond}, {Name: "train", Hits: 13, Cost: 8450},
	}
	return &stream.TracingCost{
		Hit: []stream.HitCost{{Gap: 15, Cost: 540}, {Gap: 2700, Cost: 720}, {Gap: 18_000, Cost: 1300}}, Total: 2,
		All: stream.ProcessCost{Hits: 21_247, Cost: 13_810_550, Pairs: pairs},
		Processes: []stream.ProcessCost{
			{Process: s.process, Hits: 21_245, Cost: 13_809_250, CPU: 2 * time.Second, CPUKnown: true, Pairs: pairs},
			{Process: &stream.Process{PID: 4300, HostPID: 4300, ContainerPID: 9, Comm: "helper"}, Hits: 2, Cost: 1300},
		},
	}
}

func pathStats(p *recorder.Path) stream.PathStats {
	st := stream.PathStats{Path: p, Count: 1, Total: 40 * time.Millisecond, Self: 40 * time.Millisecond,
		P50: 40 * time.Millisecond, P99: 40 * time.Millisecond, Max: 40 * time.Millisecond, Min: 40 * time.Millisecond}
	switch p.Name() {
	case "train":
		st = stream.PathStats{Path: p, Open: 1}
	case "step":
		st = stream.PathStats{Path: p, Count: 10_000, Total: 95 * time.Second, Self: 90 * time.Second,
			P50: 9_400 * time.Microsecond, P99: 12 * time.Millisecond, Max: 101_300 * time.Microsecond, Min: 9 * time.Millisecond,
			LeftOut: 0.25, ResidentChange: 4096, ResidentPeak: 3<<30 + 4096}
		st.GPU = []stream.PathGPU{
			{Device: 0, Change: gpu.Delta{N: 512 << 20, Known: true}, ChangeLow: -1 << 30, ChangeHigh: 1 << 30,
				Changes: 9_876, Approximate: 300, Shared: 12, Certain: 9_570, Peak: gpu.Bytes(21 << 30), Samples: 31_234},
			{Device: 1},
		}
	case "read":
		st = stream.PathStats{Path: p, Count: 1, Synthetic: 1}
	}
	return st
}
