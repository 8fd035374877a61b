// SPDX-License-Identifier: Apache-2.0

package jsonl

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"
)

var pairChangeFields = newObject(headFields(
	hostField,
	field{"name", need, func(p *player) { p.pair.Name = p.stringOrNull() }},
	field{"provider", need, func(p *player) { p.pair.Provider = p.string() }},
	field{"enter", need, func(p *player) { p.pair.Enter = p.string() }},
	field{"part", need, func(p *player) { p.pair.Part = p.share() }},
	field{"overhead", need, func(p *player) { p.pair.Share = p.share() }},
	field{"budget", need, func(p *player) { p.pair.Budget = p.share() }},
	field{"for_good", need, func(p *player) { p.pair.ForGood = p.bool() }},
	field{"trial", need, func(p *player) { p.pair.Trial = p.bool() }},
)...)

func (p *player) playPairChange() error {
	c := &p.pair
	c.Time, c.Unix = p.time, p.unix
	return p.hand(c)
}

func lastPart(p *player) *stream.PairPart { return last(p.summary.Parts) }

var partFields = newObject(slices.Concat([]field{
	{"name", need, func(p *player) { lastPart(p).Name = p.stringOrNull() }},
	{"provider", need, func(p *player) { lastPart(p).Provider = p.string() }},
	{"enter", need, func(p *player) { lastPart(p).Enter = p.string() }},
	{"left_out_share", need, func(p *player) { lastPart(p).LeftOut = p.share() }},
	{"cuts", need, func(p *player) { lastPart(p).Cuts = p.unsigned() }},
	{"part", need, func(p *player) { lastPart(p).Part = p.share() }},
	{"budget", need, func(p *player) { lastPart(p).Budget = p.share() }},
	{"for_good", need, func(p *player) { lastPart(p).ForGood = p.bool() }},
})...)

var partsField = field{"left_out_pairs", optional, func(p *player) {
	p.list(func(p *player) {
		p.summary.Parts = append(p.summary.Parts, stream.PairPart{})
		p.object(partFields)
	})
}}
