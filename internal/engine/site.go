// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"slices"

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
	Fails     bool   // only an error skips the exit of a phase
	Keyed     bool   // scopes are matched by a key, beside the thread's nesting
	// Resets are the pairs of which nothing can be open when this one is
	// entered.
	Resets []*Pair
	// Watched are the arguments that show whether phases of a pair without a key
	// overlap, at most stream.MaxKeyValues; see Site.Watched.
	Watched []WatchedArg

	noEnter bool // see Engine.EntersAttached
	// keyWidth has the bits of the narrowest of each argument of its sites' keys,
	// 0 while there is none.
	keyWidth [stream.MaxKeyValues]uint8
	watch    watch
	load     Load
}

// narrow takes the width of a site's key, and reports whether keys that are known
// already have to be compared by fewer bits now.
func (p *Pair) narrow(key []KeyPart) (narrower bool) {
	for i := range key {
		known, bits := p.keyWidth[i], key[i].bits()
		if known == 0 || bits < known {
			p.keyWidth[i] = bits
		}
		narrower = narrower || known != 0 && bits < known
	}
	return narrower
}

// WatchedArg is an argument that enters and exits have in common, by its number at
// either.
type WatchedArg struct{ Enter, Exit int }

// KeyPart is one of the arguments of a key and where its value is captured.
type KeyPart struct {
	Slot int // index into event.Marker.Values
	Size int // of the argument in bytes, 0 for eight
}

// bits is the width of the argument.
func (k KeyPart) bits() uint8 {
	if k.Size <= 0 || k.Size >= 8 {
		return 64
	}
	return uint8(8 * k.Size)
}

// Format says how a captured value is written as an attribute.
type Format uint8

// The formats.
const (
	FormatInt  Format = iota // a signed number
	FormatUint               // an unsigned number
	FormatHex                // text such as "0x1f"
	FormatText
	FormatWord  // text: the word of the number, which is kept where it has none
	FormatFlags // text: the words of the bits that are set
)

// Word is what a number, or a bit, is called.
type Word struct {
	Value uint64
	Text  string

	json []byte // Text, escaped
}

// Attr is an attribute of a phase and where its value is captured.
type Attr struct {
	Key    string
	Slot   int // index into event.Marker.Values
	Format Format
	Size   int // of the argument in bytes
	Words  []Word
	// FromContext: the value is not the marker's but what the thread was told last at another
	// site, see Site.Context; Slot is the note's number.
	FromContext bool
	// Outer: only phases that are inside no other of their stack have it.
	Outer bool
	// NullLeftOut: a phase at whose boundary the string's address is null has no such
	// attribute.
	NullLeftOut bool

	label []byte // `"key":`, quoted and escaped
}

// escapeWords prepares the words for being written.
func (a *Attr) escapeWords() {
	for i := range a.Words {
		w := &a.Words[i]
		quoted := appendString(nil, []byte(w.Text))
		w.json = quoted[1 : len(quoted)-1]
	}
}

// ContextValue is a value that a thread keeps. Its number is the Slot of an Attr that is
// FromContext; at most MaxContext.
type ContextValue struct {
	Number int
	Attr   // where it is captured and how it is written; without a key
}

// MaxContext is how many values a thread keeps.
const MaxContext = 8

// Site is a place in a program that is attached to, and what its captured
// values mean.
type Site struct {
	stream.Marker
	Pair   *Pair
	Effect probe.Effect
	// Over holds, for a probe.Point, the pairs of which a hit proves that
	// nothing is open on the thread.
	Over []*Pair
	// Context has, for a probe.Point, values that the thread keeps until it hits the
	// site again, for the attributes of what it enters.
	Context []ContextValue
	// Indexes into event.Marker.Values, or None: what matches an exit with its
	// enter, the process's rank, the phase's name, and a JSON object of
	// attributes.
	Token, Rank, Name, Object int
	// Key does the same for a keyed pair: at most stream.MaxKeyValues arguments, in
	// the order that the other sites of the pair have. None: markers of the site
	// cannot be matched.
	Key []KeyPart
	// Watched is where the arguments of Pair.Watched are captured, in the same order.
	// The slot of one that the site lacks is None.
	Watched []KeyPart
	// Attrs are an enter's attributes of the phase, or what an exit tells of it.
	Attrs []Attr

	hits uint64
	// gate is when the site was last attached for any process, and gateAll when
	// it was first attached for all of them; see Engine.Attached.
	gate, gateAll gate
	until         int64 // markers from then on are passed over; 0: it stays
}

// governs reports whether a hit of the site proves everything on its lane to be
// over, among the pairs of all sites.
func (t *sites) governs(p *Pair) bool {
	if p.Reentrant {
		return false
	}
	for _, s := range t.list {
		if s == nil {
			continue
		}
		q := s.Pair
		if s.Effect != probe.Point && !q.Keyed && q.Lane == p.Lane && q != p && !slices.Contains(p.Resets, q) {
			return false
		}
	}
	return true
}

// gate is when sites were attached, on both clocks in ns.
type gate struct {
	time int64
	boot uint64
}

// never is the gate of sites that are being attached.
var never = gate{math.MaxInt64, math.MaxUint64}

// sites are the sites of a session and when they were attached.
type sites struct {
	list []*Site  // by number; nil where one is free
	free []uint32 // numbers of sites that have been removed
	last gate     // when sites were last attached for all processes
	// underway is how often sites are just being attached.
	underway int
	// removal is when the first probes were removed whose scopes are not closed yet.
	removal int64
	until   int64 // markers from this time on are passed over
}

func (t *sites) add(s *Site) uint32 {
	for i := range s.Attrs {
		a := &s.Attrs[i]
		a.label = append(appendString(nil, []byte(a.Key)), ':')
		a.escapeWords()
	}
	for i := range s.Context {
		s.Context[i].escapeWords()
	}
	if n := len(t.free); n > 0 {
		id := t.free[n-1]
		t.free = t.free[:n-1]
		t.list[id] = s
		return id
	}
	t.list = append(t.list, s)
	return uint32(len(t.list) - 1)
}

// remove forgets a site.
func (t *sites) remove(id uint32, processes map[int]*process) {
	s := t.list[id]
	if s == nil {
		return
	}
	for _, p := range processes {
		delete(p.gates, s)
		p.tally.forget(id, s.Pair)
	}
	t.list[id] = nil
	t.free = append(t.free, id)
}

// attaching notes that sites are about to be attached.
func (t *sites) attaching(which []probe.Site) {
	t.underway++
	for i := range which {
		s := t.list[which[i].ID]
		s.gate = never
		if s.gateAll == (gate{}) {
			s.gateAll = never
		}
	}
}

// attached notes that sites were attached, for p alone unless it is nil.
func (t *sites) attached(p *process, which []probe.Site, at gate) {
	t.underway = max(t.underway-1, 0)
	if p != nil {
		p.lastGate = at
	} else {
		t.last = at
	}
	for i := range which {
		s := t.list[which[i].ID]
		if at.time > s.gate.time || s.gate == never {
			s.gate = at
		}
		switch {
		case p != nil:
			if p.gates == nil {
				p.gates = make(map[*Site]gate)
			}
			p.gates[s] = at
		case s.gateAll.time == 0 || s.gateAll == never:
			s.gateAll = at
		}
	}
}

// outside reports whether a marker was hit while probes were being attached or
// detached.
func (t *sites) outside(p *process, s *Site, time int64) bool {
	return time >= t.until || s.until != 0 && time >= s.until || time < s.gate.time && time < p.gate(s).time
}

// countedBefore reports whether what the kernel counted for a lane since the
// last delivered marker reaches back to before sites were attached, any of them.
// Those that are being attached have counted as well.
func (t *sites) countedBefore(th *thread, ln *lane) bool {
	if t.underway > 0 {
		return true
	}
	if ln.time == 0 {
		return th.key.StartTime < max(th.process.lastGate.boot, t.last.boot)
	}
	return ln.time < max(th.process.lastGate.time, t.last.time)
}
