// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// Tally is how often a process has hit the sites of each pair.
type Tally struct {
	Process *stream.Process // nil: of processes for which there was no room
	Pairs   []PairHits      // those with hits, by Pair.ID
	Lost    uint64          // hits whose records were lost: nobody knows of which pair
}

// PairHits are hits of the sites of a pair that were delivered.
type PairHits struct {
	Pair *Pair
	Hits uint64
}

// maxEndedTallies bounds the tallies of ended processes that nobody has taken.
const maxEndedTallies = 1 << 14

// tally counts the hits of a process.
type tally struct {
	bySite []uint64         // by number, of sites that there are
	past   map[*Pair]uint64 // of sites that have been removed
	lost   uint64
}

// hit counts a hit.
func (t *tally) hit(site uint32) {
	if int(site) >= len(t.bySite) {
		t.bySite = append(t.bySite, make([]uint64, int(site)+1-len(t.bySite))...)
	}
	t.bySite[site]++
}

// forget keeps the hits of a site that is removed for its pair.
func (t *tally) forget(site uint32, p *Pair) {
	if int(site) >= len(t.bySite) || t.bySite[site] == 0 {
		return
	}
	if t.past == nil {
		t.past = make(map[*Pair]uint64)
	}
	t.past[p] += t.bySite[site]
	t.bySite[site] = 0
}

// pairs adds up the hits by pair.
func (t *tally) pairs(sites []*Site) map[*Pair]uint64 {
	all := maps.Clone(t.past)
	if all == nil {
		all = make(map[*Pair]uint64)
	}
	for id, n := range t.bySite {
		if n > 0 && sites[id] != nil {
			all[sites[id].Pair] += n
		}
	}
	return all
}

// of makes the tally of a process for others.
func (t *tally) of(p *stream.Process, sites []*Site) Tally {
	out := Tally{Process: p, Lost: t.lost}
	for pair, n := range t.pairs(sites) {
		out.Pairs = append(out.Pairs, PairHits{pair, n})
	}
	slices.SortFunc(out.Pairs, func(a, b PairHits) int { return strings.Compare(a.Pair.ID, b.Pair.ID) })
	return out
}

// endedTallies are those of processes that have ended.
type endedTallies struct {
	list []Tally
	rest tally // of those for which there was no room
}

func (e *endedTallies) add(p *process, sites []*Site) {
	if len(e.list) < maxEndedTallies {
		e.list = append(e.list, p.tally.of(p.id, sites))
		return
	}
	if e.rest.past == nil {
		e.rest.past = make(map[*Pair]uint64)
	}
	for pair, n := range p.tally.pairs(sites) {
		e.rest.past[pair] += n
	}
	e.rest.lost += p.tally.lost
}

// Tallies returns the hits of the processes that have not ended, by PID.
func (e *Engine) Tallies() []Tally {
	out := make([]Tally, 0, len(e.tasks.processes))
	for _, p := range e.tasks.processes {
		out = append(out, p.tally.of(p.id, e.sites.list))
	}
	slices.SortFunc(out, func(a, b Tally) int { return a.Process.PID - b.Process.PID })
	return out
}

// TakeTallies returns those of processes that have ended since the last call.
func (e *Engine) TakeTallies() []Tally {
	out := e.ended.list
	if len(e.ended.rest.past) > 0 || e.ended.rest.lost > 0 {
		out = append(out, e.ended.rest.of(nil, nil))
	}
	e.ended = endedTallies{}
	return out
}

// Load is what the phases of a pair have been so far, in all processes.
type Load struct {
	Entered   uint64
	Outermost uint64 // of them: inside no other phase of their lane
	Inside    int64  // ns between enters and exits, whatever ended them
}

// Load returns the load of a pair.
func (e *Engine) Load(p *Pair) Load { return p.load }

// Again returns a site that is as this one was before it was added.
func (s *Site) Again() *Site {
	c := *s
	c.hits, c.gate, c.gateAll, c.until = 0, gate{}, gate{}, 0
	c.Over = slices.Clone(s.Over)
	return &c
}
