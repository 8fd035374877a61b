// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// phaseListFields are the figures by path.
var phaseListFields = []field{{"phases", need, func(p *player) {
	p.list(func(p *player) {
		p.summary.Paths = append(p.summary.Paths, stream.PathStats{})
		p.ref.reset()
		p.object(figureFields)
		if lastPath(p).Path = p.path(&p.ref); p.err == nil && lastPath(p).Path == nil {
			p.failf("no path")
		}
	})
}}}

func lastPath(p *player) *stream.PathStats { return last(p.summary.Paths) }

var figureFields = newObject(slices.Concat(pathFields(innerPath), []field{
	pathCount("count", func(s *stream.PathStats) *uint64 { return &s.Count }),
	pathCount("synthetic", func(s *stream.PathStats) *uint64 { return &s.Synthetic }),
	pathCount("open", func(s *stream.PathStats) *uint64 { return &s.Open }),
	{"duration_unknown", optional, func(p *player) { lastPath(p).Unknown = p.unsigned() }},
	pathTime("total_ns", func(s *stream.PathStats) *time.Duration { return &s.Total }),
	pathTime("self_ns", func(s *stream.PathStats) *time.Duration { return &s.Self }),
	pathTime("min_ns", func(s *stream.PathStats) *time.Duration { return &s.Min }),
	pathTime("p50_ns", func(s *stream.PathStats) *time.Duration { return &s.P50 }),
	pathTime("p99_ns", func(s *stream.PathStats) *time.Duration { return &s.P99 }),
	pathTime("max_ns", func(s *stream.PathStats) *time.Duration { return &s.Max }),
	{"host_memory", need, func(p *player) {
		if !p.null() {
			p.object(pathMemoryFields)
		}
	}},
	{"gpu", need, func(p *player) {
		p.list(func(p *player) {
			lastPath(p).GPU = append(lastPath(p).GPU, stream.PathGPU{})
			p.object(pathGPUFields)
		})
	}},
})...)

func pathCount(name string, of func(*stream.PathStats) *uint64) field {
	return field{name, need, func(p *player) { *of(lastPath(p)) = p.unsigned() }}
}

func pathTime(name string, of func(*stream.PathStats) *time.Duration) field {
	return field{name, need, func(p *player) { *of(lastPath(p)) = time.Duration(p.delta().N) }}
}

var pathMemoryFields = newObject(
	field{"change_bytes", need, func(p *player) { lastPath(p).ResidentChange = p.integer() }},
	field{"peak_bytes", need, func(p *player) { lastPath(p).ResidentPeak = p.unsigned() }},
)

var pathGPUFields = newObject(
	field{"device_id", need, func(p *player) { last(lastPath(p).GPU).Device = p.number() }},
	field{"uuid", optional, (*player).ignore},
	field{"change_bytes", need, func(p *player) { last(lastPath(p).GPU).Change = p.delta() }},
	field{"change_scopes", need, func(p *player) { last(lastPath(p).GPU).Changes = p.unsigned() }},
	field{"peak_used_bytes", need, func(p *player) { last(lastPath(p).GPU).Peak = p.bytes() }},
)
