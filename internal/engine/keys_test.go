// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// play runs a script on the keyed pair of one thread: "+7" enters with key 7, "-7"
// exits with it, and returns what came of it: "7" a phase of that many markers,
// "7?" one whose duration is not known, "7!" an orphan.
func playKeys(t *testing.T, script string) (e *Engine, got string) {
	t.Helper()
	k, e, m := kept()
	task := m.newTask(0)
	for _, word := range strings.Fields(script) {
		site := 2 * pairParcel
		if word[0] == '-' {
			site++
		}
		m.marker(task, site, uint64(word[1]-'0'), "", -1)
	}
	var out []string
	for _, r := range k.records {
		switch r := r.(type) {
		case *stream.Boundary:
			switch {
			case r.Action.String() == "enter":
			case r.Synthetic == stream.ReasonNone:
				out = append(out, fmt.Sprintf("%v:%d", r.Key, r.Duration))
			case r.Synthetic == stream.ReasonKeyReused:
				out = append(out, fmt.Sprintf("%v?", r.Key))
			default:
				out = append(out, fmt.Sprintf("%v %s", r.Key, r.Synthetic))
			}
		case *stream.Orphan:
			out = append(out, string(r.Reason)+"!")
		case *stream.Violation:
			out = append(out, r.Err.Kind.String())
		}
	}
	return e, strings.Join(out, " ")
}

// A key that is used again while it is open: whichever scope an exit means, its
// duration is not known, and is not told as if it were.
func TestKeyReused(t *testing.T) {
	for _, c := range []struct {
		name, script, want string
		reuses             uint64
	}{
		{"properly", "+1 -1 +2 +1 -1 -2", "1:1 1:1 2:3", 0},
		{"inside itself", "+7 +7 -7 -7 +7 -7", "7? 7? key_reused! 7:1", 1},
		{"one after the other", "+7 +7 -7 +7 -7 -7", "7? 7? 7:1 key_reused!", 1},
		// Once an exit too many has shown that phases overlap, one by one is not
		// known either.
		{"once known to overlap", "+7 +7 -7 -7 +7 +7 -7 +7 -7 -7 +7 -7", "7? 7? key_reused! 7? 7? 7? key_reused! 7:1", 2},
		{"without an exit", "+7 +7 -7 +7 -7 +7 -7", "7? 7? 7:1 7:1", 1},
		{"three at once", "+7 +7 +7 -7 -7 -7 +7 -7", "7? 7? 7? key_reused! key_reused! 7:1", 2},
		{"and another key", "+7 +8 +7 -8 -7 -7", "7? 8:2 7? key_reused!", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, got := playKeys(t, c.script)
			if got != c.want {
				t.Errorf("%s: %s, want %s", c.script, got, c.want)
			}
			var reuses uint64
			for _, r := range e.KeyReuses() {
				reuses += r.Count
			}
			if reuses != c.reuses || e.stats.Internal() != 0 {
				t.Errorf("%d keys used again, want %d; %d mishandled", reuses, c.reuses, e.stats.Internal())
			}
		})
	}
}

// keySites returns an engine with a keyed pair of which the enters and the exits
// have keys of these sizes, in bytes.
func keySites(sizes ...int) (e *Engine, enters, exits []uint32, handle func(site uint32, key uint64)) {
	e = New(Config{SessionID: "s", PageSize: 4096}, &keeper{})
	p := &Pair{ID: "k", Name: []byte("k"), Keyed: true, Reentrant: true}
	add := func(effect probe.Effect, size int) uint32 {
		s := newSite(p, effect)
		s.Key = []KeyPart{{valueToken, size}}
		return e.AddSite(s)
	}
	for _, size := range sizes {
		enters = append(enters, add(probe.Enter, size))
	}
	for _, size := range sizes {
		exits = append(exits, add(probe.Exit, size))
	}
	m := newMachine(e)
	task := m.newTask(0)
	return e, enters, exits, func(site uint32, key uint64) {
		m.sites = e.sites.list
		m.marker(task, int(site), key, "", -1)
	}
}

// Keys meet at the width of the narrower site: −1 of an int is 4294967295 of an
// unsigned one. Wide keys differ in any of their bits.
func TestKeyWidths(t *testing.T) {
	const minusOne = ^uint64(0)
	wide := 1<<63 | uint64(1)
	for _, c := range []struct {
		name                string
		enter, exit         uint64
		enterSize, exitSize int
		meet                bool
	}{
		{"signed and unsigned", minusOne, 1<<32 - 1, 4, 4, true},
		{"wide and narrow", minusOne, 1<<32 - 1, 8, 4, true},
		{"narrow and wide", 1<<32 - 1, minusOne, 4, 8, true},
		{"wide ones", wide, wide, 8, 8, true},
		{"different wide ones", wide, 1, 8, 8, false},
		{"different narrow ones", 5, 6, 4, 4, false},
		{"one byte", minusOne, 255, 8, 1, true},
	} {
		e, enters, exits, handle := keySites(8, 4, 1)
		at := map[int]int{8: 0, 4: 1, 1: 2}
		handle(enters[at[c.enterSize]], c.enter)
		handle(exits[at[c.exitSize]], c.exit)
		if met := e.keys.open == 0; met != c.meet {
			t.Errorf("%s: met %v, want %v", c.name, met, c.meet)
		}
	}
}

// A narrower site that comes while keys are open finds them.
func TestKeyNarrows(t *testing.T) {
	e, enters, _, handle := keySites(8)
	handle(enters[0], ^uint64(0))
	handle(enters[0], 1<<40|9)
	handle(enters[0], 9)
	narrow := newSite(e.sites.list[0].Pair, probe.Exit)
	narrow.Key = []KeyPart{{valueToken, 4}}
	exit := e.AddSite(narrow)
	handle(exit, 1<<32-1)
	if e.keys.open != 2 {
		t.Fatalf("%d keys open, want the two that share their low half", e.keys.open)
	}
	handle(exit, 9)
	handle(exit, 9)
	if e.keys.open != 0 || e.stats.Orphans != 0 {
		t.Errorf("%d keys open, %d orphans; want none", e.keys.open, e.stats.Orphans)
	}
}

// The table of keys against a list.
func TestKeysAgainstList(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	p := &Pair{keyWidth: [stream.MaxKeyValues]uint8{8, 16}}
	owner := &process{}
	table := newKeys()
	var list []key // the last is found first
	for i := range 200_000 {
		v := keyValue{Key: stream.KeyOf(rng.Uint64N(1<<18), 1<<20|rng.Uint64N(2))}
		v.bits[0], v.bits[1] = []uint8{8, 16, 64}[rng.IntN(3)], []uint8{16, 64}[rng.IntN(2)]
		at := -1
		for n, k := range list {
			one := (k.value.Values[0]^v.Values[0])&(1<<min(k.value.bits[0], v.bits[0])-1) == 0
			if one && k.value.Values[1]&1 == v.Values[1]&1 {
				at = n
			}
		}
		k := table.find(owner, p, &v)
		if (k == nil) != (at < 0) || k != nil && k.value != list[at].value {
			t.Fatalf("step %d: found %+v, the list has %v", i, k, at)
		}
		switch {
		case k != nil:
			table.drop(k)
			list = slices.Delete(list, at, at+1)
		case len(list) < 40:
			k := key{id: idOf(owner, p, &v), value: v, open: true}
			table.add(k)
			list = append(list, k)
		}
	}
	if n := len(table.all) - 1 - len(table.free); n != len(list) || len(table.first) > n {
		t.Errorf("%d keys in %d places, the list has %d", n, len(table.first), len(list))
	}
}

// Keys that are used again and again do not pile up.
func TestKeyReuseIsBounded(t *testing.T) {
	e, m := bounded()
	task := m.newTask(0)
	for i := range uint64(3 * maxKeyed) {
		m.marker(task, 2*pairParcel, i, "", -1)
		m.marker(task, 2*pairParcel, i, "", -1)
		m.marker(task, 2*pairParcel+1, i, "", -1)
	}
	if n := len(e.keys.all); n > maxKeyed+2 || e.keys.open != 0 {
		t.Errorf("%d keys are kept, %d open", n, e.keys.open)
	}
	m.processExit(task, 0)
	if n := len(e.keys.first); n != 0 {
		t.Errorf("%d keys are left of a process that has ended", n)
	}
}
