// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

var sampleFields = newObject(headFields(
	hostField,
	field{"device_id", need, func(p *player) { p.sample.Sample.Device = p.number() }},
	field{"uuid", need, func(p *player) { p.sample.Device.UUID = p.stringOrNull() }},
	field{"used_bytes", need, func(p *player) { p.sample.Used = p.bytes() }},
	field{"free_bytes", need, func(p *player) { p.sample.Free = p.bytes() }},
	field{"total_bytes", need, func(p *player) { p.sample.Total = p.bytes() }},
	field{"reserved_bytes", need, func(p *player) { p.sample.Reserved = p.bytes() }},
	field{"latency_ns", need, func(p *player) { p.latency = p.integer() }},
	field{"status", need, func(p *player) { p.sample.Status = p.status() }},
	phaseField,
)...)

// phaseField reads who was active into player.phase.
var phaseField = field{"phase", need, func(p *player) {
	p.phase, p.total, p.candidates = recorder.Attribution{}, 0, p.candidates[:0]
	p.outer.reset()
	p.object(phaseFields)
	p.attribute()
}}

var phaseFields = newObject(slices.Concat([]field{
	{"certainty", need, func(p *player) {
		name := p.string()
		var ok bool
		if p.phase.Certainty, ok = certainties[name]; !ok {
			p.failf("%q is no certainty", name)
		}
	}},
}, pathFields(outerPath), []field{
	{"likely", need, func(p *player) {
		if !p.null() {
			p.phase.Likely = p.readActive()
		}
	}},
	{"candidate_count", need, func(p *player) { p.total = p.unsigned() }},
	{"candidates", need, func(p *player) {
		p.list(func(p *player) { p.candidates = append(p.candidates, p.readActive()) })
	}},
})...)

var certainties = func() map[string]recorder.Certainty {
	byName := make(map[string]recorder.Certainty)
	for c := recorder.NoPhase; c <= recorder.Exact; c++ {
		byName[c.String()] = c
	}
	return byName
}()

var activeFields = newObject(slices.Concat([]field{
	{"scope_id", need, func(p *player) { p.active.SessionID, p.active.Scope = p.scopeID() }},
}, pathFields(innerPath), []field{
	{"thread_id", need, func(p *player) { p.active.ThreadID = p.number() }},
	{"rank", need, func(p *player) { p.active.Rank = int32(p.number()) }},
	{"lane", need, func(p *player) { p.active.Lane = p.stringOrNull() }},
})...)

func (p *player) readActive() recorder.Active {
	p.active = recorder.Active{}
	p.ref.reset()
	p.object(activeFields)
	a := &p.active
	if a.Path = p.path(&p.ref); p.err == nil && a.Path == nil {
		p.failf("no path")
		return recorder.Active{}
	}
	if p.err == nil {
		a.Depth = a.Path.Depth()
	}
	return *a
}

// attribute puts together who was active.
func (p *player) attribute() {
	a := &p.phase
	if p.err != nil {
		return
	}
	told := uint64(len(p.candidates))
	answered := a.Certainty > recorder.Ambiguous
	switch a.Path = p.path(&p.outer); {
	case p.err != nil:
	case p.total < told || p.total > told && told < maxCandidates || p.total > 1<<31:
		p.failf("candidate_count: %d, and %d candidates", p.total, told)
	case answered != (a.Path != nil), (a.Certainty == recorder.Ambiguous) != (a.Likely.Path != nil):
		p.failf("path or likely: not what certainty %v calls for", a.Certainty)
	}
	a.More = int(p.total - told)
	if told > 0 {
		a.Candidates = p.candidates
	}
	if answered && p.total == 1 && told == 1 {
		a.Scope = p.candidates[0].Scope
	}
}

func (p *player) playSample() error {
	s := &p.sample
	s.Unix, s.Mid = p.unix, p.time
	s.Start = s.Mid - p.latency/2
	s.End = s.Start + p.latency
	s.Phase = p.phase
	uuid, id := s.Device.UUID, s.Sample.Device
	known, ok := p.devices[id]
	if !ok {
		known = gpu.Device{ID: id, Index: id, MIG: -1}
	}
	if known.UUID == "" {
		known.UUID = uuid // found after the session began
	}
	p.devices[id] = known
	s.Device = known
	return p.hand(s)
}
