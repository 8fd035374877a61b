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
		p.group = nil
		p.object(pathFiguresFields)
		if lastPath(p).Path = p.path(&p.ref); p.err == nil && lastPath(p).Path == nil {
			p.failf("no path")
		}
	})
}}}

// groupedField says what the phases are grouped by.
var groupedField = field{"grouped", optional, func(p *player) { p.object(groupedFields) }}

var groupedFields = newObject(
	field{"by", need, func(p *player) { p.summary.Grouped.By = p.string() }},
	field{"groups", need, func(p *player) { p.summary.Grouped.Groups = p.number() }},
	field{"other", need, func(p *player) { p.summary.Grouped.Other = p.unsigned() }},
	field{"cut", need, func(p *player) { p.summary.Grouped.Cut = p.unsigned() }},
)

func lastPath(p *player) *stream.PathStats { return last(p.summary.Paths) }

// figuresNow are the figures that are being read: of a path, or of a group of it.
func figuresNow(p *player) *stream.PathStats {
	if p.group != nil {
		return &p.group.Figures
	}
	return lastPath(p)
}

var pathFiguresFields = newObject(slices.Concat(pathFields(innerPath), figureFields, []field{
	{"open", need, func(p *player) { lastPath(p).Open = p.unsigned() }},
	{"joined", optional, func(p *player) { lastPath(p).Joined = p.unsigned() }},
	{"left_out_share", optional, func(p *player) { lastPath(p).LeftOut = p.share() }},
	{"ranks", optional, func(p *player) {
		p.list(func(p *player) {
			lastPath(p).Ranks = append(lastPath(p).Ranks, stream.RankStats{})
			p.object(rankFields)
		})
	}},
	{"groups", optional, func(p *player) {
		p.list(func(p *player) {
			lastPath(p).Groups = append(lastPath(p).Groups, stream.GroupStats{})
			p.group = last(lastPath(p).Groups)
			p.object(groupFields)
		})
		p.group = nil
	}},
})...)

func lastRank(p *player) *stream.RankStats { return last(lastPath(p).Ranks) }

var rankFields = newObject(
	field{"rank", need, func(p *player) { lastRank(p).Rank = int32(p.number()) }},
	field{"timed", need, func(p *player) { lastRank(p).Timed = p.unsigned() }},
	field{"total_ns", need, func(p *player) { lastRank(p).Total = time.Duration(p.integer()) }},
	field{"max_ns", need, func(p *player) { lastRank(p).Max = time.Duration(p.integer()) }},
)

var groupFields = newObject(slices.Concat([]field{
	{"group", need, func(p *player) {
		if p.null() {
			p.group.Kind = stream.GroupNone
			return
		}
		p.group.Name = p.string()
	}},
	{"overflow", optional, func(p *player) {
		if p.bool() {
			p.group.Kind, p.group.Name = stream.GroupOther, ""
		}
	}},
}, figureFields)...)

// figureFields are those that paths and groups have.
var figureFields = []field{
	pathCount("count", func(s *stream.PathStats) *uint64 { return &s.Count }),
	pathCount("synthetic", func(s *stream.PathStats) *uint64 { return &s.Synthetic }),
	{"duration_unknown", optional, func(p *player) { figuresNow(p).Unknown = p.unsigned() }},
	{"outcomes", optional, func(p *player) {
		p.list(func(p *player) {
			figuresNow(p).Outcomes = append(figuresNow(p).Outcomes, stream.OutcomeCount{})
			p.object(outcomeFields)
		})
	}},
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
			figuresNow(p).GPU = append(figuresNow(p).GPU, stream.PathGPU{})
			p.object(pathGPUFields)
		})
	}},
}

var outcomeFields = newObject(
	field{"outcome", need, func(p *player) { last(figuresNow(p).Outcomes).Outcome = p.string() }},
	field{"count", need, func(p *player) { last(figuresNow(p).Outcomes).Count = p.unsigned() }},
)

func pathCount(name string, of func(*stream.PathStats) *uint64) field {
	return field{name, need, func(p *player) { *of(figuresNow(p)) = p.unsigned() }}
}

func pathTime(name string, of func(*stream.PathStats) *time.Duration) field {
	return field{name, need, func(p *player) { *of(figuresNow(p)) = time.Duration(p.delta().N) }}
}

var pathMemoryFields = newObject(
	field{"change_bytes", need, func(p *player) { figuresNow(p).ResidentChange = p.integer() }},
	field{"peak_bytes", need, func(p *player) { figuresNow(p).ResidentPeak = p.unsigned() }},
)

var pathGPUFields = newObject(
	field{"device_id", need, func(p *player) { last(figuresNow(p).GPU).Device = p.number() }},
	field{"uuid", optional, (*player).ignore},
	field{"change_bytes", need, func(p *player) { last(figuresNow(p).GPU).Change = p.delta() }},
	field{"change_low_bytes", optional, func(p *player) { last(figuresNow(p).GPU).ChangeLow = p.delta().N }},
	field{"change_high_bytes", optional, func(p *player) { last(figuresNow(p).GPU).ChangeHigh = p.delta().N }},
	field{"change_scopes", need, func(p *player) { last(figuresNow(p).GPU).Changes = p.unsigned() }},
	field{"certain_scopes", optional, func(p *player) { last(figuresNow(p).GPU).Certain = p.unsigned() }},
	field{"approximate_scopes", optional, func(p *player) { last(figuresNow(p).GPU).Approximate = p.unsigned() }},
	field{"shared_scopes", optional, func(p *player) { last(figuresNow(p).GPU).Shared = p.unsigned() }},
	field{"samples", optional, func(p *player) { last(figuresNow(p).GPU).Samples = p.unsigned() }},
	field{"peak_used_bytes", need, func(p *player) { last(figuresNow(p).GPU).Peak = p.bytes() }},
)
