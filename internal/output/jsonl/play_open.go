// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"bytes"
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// openFields are the phases that were open at the end.
var openFields = []field{{"open_phases", optional, func(p *player) { p.object(openPhasesFields) }}}

var openPhasesFields = newObject(
	field{"total", need, func(p *player) { p.summary.OpenTotal = p.unsigned() }},
	field{"longest", need, func(p *player) { p.list((*player).readOpen) }},
)

func lastOpen(p *player) *stream.OpenPhase { return last(p.summary.Open) }

var openPhaseFields = newObject(slices.Concat(pathFields(innerPath), whereFields, []field{
	{"scope_id", need, func(p *player) { lastOpen(p).SessionID, lastOpen(p).Scope = p.scopeID() }},
	{"lane", need, func(p *player) { lastOpen(p).Lane = p.stringOrNull() }},
	{"start_monotonic_ns", need, func(p *player) { lastOpen(p).Since = p.integer() }},
	{"open_ns", optional, (*player).ignore},
	{"attributes", optional, func(p *player) { lastOpen(p).Attributes = bytes.Clone(p.readObject()) }},
})...)

func (p *player) readOpen() {
	p.summary.Open = append(p.summary.Open, stream.OpenPhase{})
	p.who = who{}
	p.ref.reset()
	p.object(openPhaseFields)
	o := lastOpen(p)
	if o.Path = p.path(&p.ref); p.err == nil && o.Path == nil {
		p.failf("no path")
	}
	o.Thread = p.where()
}
