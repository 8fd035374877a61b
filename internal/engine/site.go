// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// None marks a value that a site does not capture.
const None = -1

// Pair is what the engine knows of a traced pair. It does not change once one
// of its sites has been added, but for Resets.
type Pair struct {
	ID        string // names the pair; the lanes of keyed scopes begin with it
	Name      []byte // of its phases; nil when the marker names them
	Lane      uint8
	LaneName  string // the recorder's name of the lane
	Reentrant bool   // a phase may be open in itself
	Keyed     bool   // scopes are matched by a key, beside the thread's nesting
	// Resets are the pairs of which nothing can be open when this one is
	// entered.
	Resets []*Pair
}

func (p *Pair) laneName() string {
	if p == nil {
		return ""
	}
	return p.LaneName
}

// Format says how a captured value is written as an attribute.
type Format uint8

// The formats.
const (
	FormatInt  Format = iota // a signed number
	FormatUint               // an unsigned number
	FormatHex                // text such as "0x1f"
	FormatText
)

// Attr is an attribute of a phase and where its value is captured.
type Attr struct {
	Key    string
	Slot   int // index into event.Marker.Values
	Format Format
	Size   int // of the argument in bytes

	label []byte // `"key":`, quoted and escaped
}

// Site is a place in a program that is attached to, and what its captured
// values mean.
type Site struct {
	stream.Marker
	Pair   *Pair
	Effect probe.Effect
	// Over holds, for a probe.Point, the pairs of which a hit proves that
	// nothing is open on the thread.
	Over []*Pair
	// Indexes into event.Marker.Values, or None: what matches an exit with its
	// enter, the process's rank, the phase's name, and a JSON object of
	// attributes.
	Token, Key, Rank, Name, Object int
	Attrs                          []Attr

	hits uint64
	// gate is when the site was last attached for any process, and gateAll when
	// it was for all of them; see Engine.Attached.
	gate, gateAll gate
	until         int64 // markers from then on are passed over; 0: it stays
}

// AddSite makes a site known and returns its number, which markers carry.
// The engine keeps the site.
func (e *Engine) AddSite(s *Site) uint32 {
	for i := range s.Attrs {
		a := &s.Attrs[i]
		a.label = append(appendString(nil, []byte(a.Key)), ':')
	}
	if n := len(e.free); n > 0 {
		id := e.free[n-1]
		e.free = e.free[:n-1]
		e.sites[id] = s
		return id
	}
	e.sites = append(e.sites, s)
	return uint32(len(e.sites) - 1)
}

// Hits returns how often a site was hit, lost markers not counted.
func (e *Engine) Hits(id uint32) uint64 { return e.sites[id].hits }
