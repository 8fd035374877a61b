// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"
)

var costField = field{"tracing_cost", optional, func(p *player) {
	p.summary.Cost = &stream.TracingCost{}
	p.object(costFields)
}}

var costFields = newObject(
	field{"hit", need, func(p *player) {
		p.list(func(p *player) {
			p.summary.Cost.Hit = append(p.summary.Cost.Hit, stream.HitCost{})
			p.object(hitFields)
		})
	}},
	field{"unknown", need, func(p *player) { p.summary.Cost.Unknown = p.stringOrNull() }},
	field{"all", need, func(p *player) {
		p.cost = &p.summary.Cost.All
		p.object(processCostFields)
	}},
	field{"process_total", need, func(p *player) { p.summary.Cost.Total = p.number() }},
	field{"processes", need, func(p *player) {
		p.list(func(p *player) {
			p.summary.Cost.Processes = append(p.summary.Cost.Processes, stream.ProcessCost{})
			p.cost = last(p.summary.Cost.Processes)
			p.told, p.who = stream.Process{}, who{}
			p.object(ofProcessFields)
			p.cost.Process = p.described()
		})
	}},
)

func lastHit(p *player) *stream.HitCost { return last(p.summary.Cost.Hit) }

var hitFields = newObject(
	field{"gap_ns", need, func(p *player) { lastHit(p).Gap = time.Duration(p.integer()) }},
	field{"cost_ns", need, func(p *player) { lastHit(p).Cost = time.Duration(p.integer()) }},
)

var costMembers = []field{
	{"hits", need, func(p *player) { p.cost.Hits = p.unsigned() }},
	{"cost_ns", need, func(p *player) { p.cost.Cost = p.durationOrNull() }},
	{"cpu_ns", need, func(p *player) {
		if p.cost.CPUKnown = !p.null(); p.cost.CPUKnown {
			p.cost.CPU = time.Duration(p.integer())
		}
	}},
	{"share", need, (*player).ignore},
	{"pairs", need, func(p *player) {
		p.list(func(p *player) {
			p.cost.Pairs = append(p.cost.Pairs, stream.PairCost{})
			p.object(pairCostFields)
		})
	}},
}

var (
	processCostFields = newObject(costMembers...)
	ofProcessFields   = newObject(slices.Concat(processFields, processInfo, costMembers)...)
	pairCostFields    = newObject(
		field{"name", need, func(p *player) { last(p.cost.Pairs).Name = p.string() }},
		field{"hits", need, func(p *player) { last(p.cost.Pairs).Hits = p.unsigned() }},
		field{"cost_ns", need, func(p *player) { last(p.cost.Pairs).Cost = p.durationOrNull() }},
	)
)

// durationOrNull reads a time in ns, 0 for null.
func (p *player) durationOrNull() time.Duration {
	if p.null() {
		return 0
	}
	return time.Duration(p.integer())
}
