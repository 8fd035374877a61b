// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// maxKeyed bounds the keyed scopes open at once, so that keys whose exits never
// come leave room for the other scopes. The same number of keys without an open
// scope is remembered.
const maxKeyed = 1 << 14

// keyedScope is what a scope of a keyed pair has in addition.
type keyedScope struct {
	value keyValue // empty: the pair is not keyed
	lost  uint64   // markers known to be lost when it was entered
}

// keyValue is a key as a site captured it: all its arguments, and how wide each
// of them is there.
type keyValue struct {
	stream.Key
	bits [stream.MaxKeyValues]uint8
}

// same compares two keys argument by argument, at the width of the narrower one:
// a number is extended as its own site says, and the sites of a pair need not
// agree.
func (v *keyValue) same(o *keyValue) bool {
	for i := range v.N {
		if (v.Values[i]^o.Values[i])<<(64-min(v.bits[i], o.bits[i])) != 0 {
			return false
		}
	}
	return v.N == o.N
}

// key reads the key of a marker. It returns false if an argument could not be read.
func (s *Site) key(ev *event.Marker) (v keyValue, ok bool) {
	for i, a := range s.Key {
		from := &ev.Values[a.Slot]
		if from.Unreadable {
			return v, false
		}
		v.Values[i], v.bits[i] = from.Int, a.bits()
	}
	v.N = uint8(len(s.Key))
	return v, true
}

// key is a key that is in use: a scope is open, or exits may come of scopes that
// were closed because it was used again.
type key struct {
	id    keyID
	value keyValue
	open  bool
	slot  uint32 // of the open scope
	// outstanding are scopes of this key that were closed because it was used again,
	// and whose exits may still come. Then an exit may mean any of them.
	outstanding uint32
	next        uint32 // number of another key with this id, from 1
}

// keyID is where to look for a key: what sites of every width agree on.
type keyID struct {
	process *process
	pair    *Pair
	// low has of each argument the bits that the narrowest site of the pair has, as
	// the high ones.
	low [stream.MaxKeyValues]uint64
}

func idOf(p *process, pair *Pair, v *keyValue) keyID {
	id := keyID{process: p, pair: pair}
	for i := range v.N {
		id.low[i] = v.Values[i] << (64 - pair.keyWidth[i])
	}
	return id
}

// KeyReuse is a pair with a key that was used again while it was open: the key
// does not tell overlapping phases apart.
type KeyReuse struct {
	Pair  *Pair
	Count uint64
}

// keys are the keys in use.
type keys struct {
	first    map[keyID]uint32 // number of a key with this id
	all      []key            // by number, from 1
	free     []uint32
	open     int    // those with a scope
	overflow uint64 // open enters that were refused
	reused   []KeyReuse
	overlaps map[*Pair]bool // pairs whose phases with equal keys are known to overlap
}

func newKeys() keys {
	return keys{first: make(map[keyID]uint32), all: make([]key, 1), overlaps: make(map[*Pair]bool)}
}

// find returns the key in use that a value means, nil if there is none. It is
// valid until the next call of use.
func (t *keys) find(p *process, pair *Pair, v *keyValue) *key {
	for n := t.first[idOf(p, pair, v)]; n != 0; n = t.all[n].next {
		if k := &t.all[n]; k.value.same(v) {
			return k
		}
	}
	return nil
}

// of returns the key of an open scope.
func (t *keys) of(sc *scope) *key {
	return t.find(sc.thread.process, sc.pair, &sc.keyed.value)
}

// use makes the key of a new scope one in use.
func (t *keys) use(sc *scope, outstanding uint32) {
	id := idOf(sc.thread.process, sc.pair, &sc.keyed.value)
	t.add(key{id: id, value: sc.keyed.value, open: true, slot: sc.token.Slot(), outstanding: outstanding})
	t.open++
}

func (t *keys) add(k key) {
	n := uint32(len(t.all))
	if len(t.free) > 0 {
		n = t.free[len(t.free)-1]
		t.free = t.free[:len(t.free)-1]
	} else {
		t.all = append(t.all, key{})
	}
	k.next = t.first[k.id]
	t.all[n], t.first[k.id] = k, n
}

// closed notes that the scope of a key is no longer open.
func (t *keys) closed(k *key) {
	k.open = false
	t.open--
	if k.outstanding == 0 || len(t.all)-len(t.free)-t.open > maxKeyed {
		t.drop(k)
	}
}

// drop takes a key out of use.
func (t *keys) drop(k *key) {
	id, next := k.id, k.next
	n := t.first[id]
	if &t.all[n] == k {
		if next == 0 {
			delete(t.first, id)
		} else {
			t.first[id] = next
		}
	} else {
		before := n
		for n = t.all[n].next; &t.all[n] != k; n = t.all[n].next {
			before = n
		}
		t.all[before].next = next
	}
	*k = key{}
	t.free = append(t.free, n)
}

// forget takes keys of a process without an open scope out of use.
func (t *keys) forget(p *process) {
	for n := range t.all {
		if k := &t.all[n]; p != nil && k.id.process == p && !k.open {
			t.drop(k)
		}
	}
}

// slots returns the slots of the open scopes of a process, nil for all, that were
// entered up to a time, in the order of their enters.
func (t *keys) slots(p *process, entered int64, s *scopes) []uint32 {
	var out []uint32
	for i := range t.all {
		if k := &t.all[i]; k.open && (p == nil || k.id.process == p) && s.open[k.slot].start <= entered {
			out = append(out, k.slot)
		}
	}
	slices.SortFunc(out, func(a, b uint32) int {
		return cmp.Compare(s.open[a].token.Scope(), s.open[b].token.Scope())
	})
	return out
}

// narrowed looks for the keys of a pair by fewer bits from now on.
func (t *keys) narrowed(p *Pair) {
	for n := range t.all {
		if k := t.all[n]; k.id.pair == p {
			t.drop(&t.all[n])
			k.id = idOf(k.id.process, p, &k.value)
			t.add(k)
		}
	}
}

// noteReuse counts a key of a pair that was used again while it was open.
func (t *keys) noteReuse(p *Pair) {
	for i := range t.reused {
		if t.reused[i].Pair.ID == p.ID { // of a library that is loaded again
			t.reused[i].Count++
			return
		}
	}
	t.reused = append(t.reused, KeyReuse{p, 1})
}
