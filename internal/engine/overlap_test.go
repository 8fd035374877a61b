// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// overlapRig plays the markers of a pair whose arguments are watched.
type overlapRig struct {
	*Engine
	k    *keeper
	m    *machine
	task *task
	args []uint64 // of the next marker
}

// watchedRig returns a rig of a pair with n arguments, each of enterSize bytes at
// the enter and exitSize at the exit.
func watchedRig(n, enterSize, exitSize int) *overlapRig {
	k := &keeper{}
	r := &overlapRig{Engine: New(Config{SessionID: "s", PageSize: 4096}, k), k: k}
	p := &Pair{ID: "t:a/b", Name: []byte("a"), Reentrant: true}
	for i := range n {
		p.Watched = append(p.Watched, WatchedArg{i, i})
	}
	for _, effect := range []probe.Effect{probe.Enter, probe.Exit} {
		s := newSite(p, effect)
		for i := range n {
			s.Watched = append(s.Watched, KeyPart{Slot: 3 + i, Size: map[probe.Effect]int{probe.Enter: enterSize, probe.Exit: exitSize}[effect]})
		}
		r.AddSite(s)
	}
	r.m = newMachine(r.Engine)
	r.m.prepare = func() {
		for i, v := range r.args {
			r.m.ev.Values[3+i] = event.Value{Int: v}
		}
	}
	r.task = r.m.newTask(0)
	return r
}

// hit plays one marker.
func (r *overlapRig) hit(t *task, site int, args ...uint64) {
	r.args = append(r.args[:0], args...)
	r.m.marker(t, site, 0, "", -1)
}

// play runs a script: "+1" enters with the argument 1, "-1,2" exits with 1 and 2,
// "!" loses the next marker. It returns the durations of the exits, "?" for one
// that is not known.
func (r *overlapRig) play(script string) string {
	from := len(r.k.records)
	for _, word := range strings.Fields(script) {
		if lost := strings.HasPrefix(word, "!"); lost {
			word = word[1:]
			r.m.full = func() bool { return true }
		}
		var args []uint64
		for _, text := range strings.Split(word[1:], ",") {
			n, _ := strconv.ParseInt(text, 10, 64)
			args = append(args, uint64(n))
		}
		r.hit(r.task, strings.IndexByte("+-", word[0]), args...)
		r.m.full = func() bool { return false }
	}
	var out []string
	for _, rec := range r.k.records[from:] {
		b, ok := rec.(*stream.Boundary)
		switch {
		case !ok || b.Action == recorder.Enter:
		case b.Doubt == stream.DoubtOverlapping:
			out = append(out, "?")
		case b.Doubt == stream.DoubtNone:
			out = append(out, strconv.FormatInt(b.Duration, 10))
		}
	}
	return strings.Join(out, " ")
}

// told is what the summary would say.
func (r *overlapRig) told() string {
	var out []string
	for _, o := range r.Overlaps() {
		word := "maybe "
		if o.Certain {
			word = ""
		}
		out = append(out, fmt.Sprintf("%s%v×%d", word, o.Key, o.Count))
	}
	return strings.Join(out, " ")
}

// What arguments show of phases that nest by their order.
func TestOverlap(t *testing.T) {
	busy := "+1 "
	for i := 2; i < 60; i++ {
		busy += fmt.Sprintf("+%d -%d ", i, i-1)
	}
	for _, c := range []struct {
		name, script, want, told string
		args                     int
	}{
		{"nested", "+1 +2 -2 -1 +3 -3", "1 3 1", "", 1},
		{"nested, of one value", "+1 +1 -1 -1", "1 3", "", 1},
		{"overlapping", "+1 +2 -1 -2 +3 -3", "? ? 1", "maybe [{0 0}]×2", 1},
		{"overlapping often", strings.Repeat("+1 +2 -1 -2 ", 4), "? ? ? ? ? ? ? ?", "[{0 0}]×8", 1},
		{"three, first in first out", "+1 +2 +3 -1 -2 -3", "? 3 ?", "maybe [{0 0}]×2", 1},
		{"results", "+5 -0 +6 -1 +7 +8 -0 -7", "1 1 1 3", "", 1},
		{"results, one by chance that of another", "+1 +2 -1 -9 +1 +2 -1 -2", "? 3 1 3", "maybe []×1", 1},
		{"depths", "+1 +2 +3 -2 -1 -0 +1 +2 -1 -0", "? ? 5 1 3", "maybe []×2", 1},
		{"of one object", "+7,1 +7,2 -7,1 -7,2", "? ?", "maybe [{1 1}]×2", 2},
		{"of several objects", "+7,1 +8,1 +7,2 -7,1 -8,1 -7,2", "? ? ?", "maybe [{0 0} {1 1}]×3", 2},
		{"object and result", "+7,1 +8,1 -7,0 -8,0", "? ?", "maybe [{0 0}]×2", 2},
		{"left open", "+1 +2 -1", "?", "maybe [{0 0}]×1", 1},
		{"never idle", strings.TrimSpace(busy), strings.TrimSpace(strings.Repeat("? ", 58)), "[{0 0}]×58", 1},
		{"an exit that never comes", "+1 +2 -1 -2 +3 +4 -3", "? ? ?", "maybe [{0 0}]×3", 1},
	} {
		r := watchedRig(c.args, 8, 8)
		if got := r.play(c.script); got != c.want || r.told() != c.told {
			t.Errorf("%s: %s, told %q; want %s, told %q", c.name, got, r.told(), c.want, c.told)
		}
	}
}

// Arguments are compared at the narrower width, whatever their sign.
func TestOverlapWidths(t *testing.T) {
	r := watchedRig(1, 8, 4)
	if got := r.play("+-1 +4294967296 -4294967295 -0"); got != "? ?" || r.told() != "maybe [{0 0}]×2" {
		t.Errorf("%s, told %q", got, r.told())
	}
}

// A site that lacks an argument, or cannot read it, proves nothing.
func TestOverlapWithoutArgument(t *testing.T) {
	r := watchedRig(1, 8, 8)
	s := newSite(r.Engine.sites.list[0].Pair, probe.Exit)
	s.Watched = []KeyPart{{Slot: None}}
	r.AddSite(s)
	if got := r.play("+1 +2 -1 -2"); got != "1 3" || r.told() != "" {
		t.Errorf("%s, told %q; want nothing", got, r.told())
	}
	r = watchedRig(1, 8, 8)
	r.m.prepare = func() { r.m.ev.Values[3] = event.Value{Unreadable: true} }
	if got := r.play("+1 +2 -1 -2"); got != "1 3" || r.told() != "" {
		t.Errorf("%s, told %q; want nothing", got, r.told())
	}
}

// Exits of scopes that nobody saw begin do not refute what their arguments are, on
// a thread that is older than the attach or has lost records.
func TestOverlapUnseen(t *testing.T) {
	r := watchedRig(1, 8, 8)
	r.m.start = 10
	old, fresh := r.m.newTask(0), r.m.newTask(0)
	r.Attaching([]probe.Site{{ID: 0}, {ID: 1}})
	r.Attached(0, []probe.Site{{ID: 0}, {ID: 1}}, r.m.now, fresh.start)
	r.task = old
	rest := strings.Repeat("+1 +2 -1 -2 ", 20)
	r.play("+2 -1") // attached in the midst of 1
	if r.Engine.sites.list[0].Pair.watch.alive == 0 {
		t.Error("an exit from before the attach refutes the argument")
	}
	r.play("-2 " + rest)
	if r.told() != "[{0 0}]×40" {
		t.Errorf("told %q", r.told())
	}
	r.task = fresh
	if r.play("+2 -1"); r.told() != "maybe []×40" {
		t.Errorf("an exit of a value that was never entered: still told %q", r.told())
	}

	r = watchedRig(1, 8, 8)
	r.play("+1 !+2 -1 -2 " + rest)
	if r.told() != "[{0 0}]×40" {
		t.Errorf("after a loss: told %q", r.told())
	}

	r = watchedRig(1, 8, 8) // never idle, attached in the midst of 1
	r.m.start = 10
	r.task = r.m.newTask(0)
	r.Attaching([]probe.Site{{ID: 0}, {ID: 1}})
	r.Attached(0, []probe.Site{{ID: 0}, {ID: 1}}, r.m.now, r.task.start+1)
	script := "+2 +3 -1 "
	for i := 4; i < 100; i++ {
		script += fmt.Sprintf("+%d -%d ", i, i-2)
	}
	if r.play(script); r.told() != "[{0 0}]×64" {
		t.Errorf("never idle: told %q", r.told())
	}
}

// However phases overlap, no duration that is not marked is wrong, and however
// they nest, whatever their arguments are, nobody is told that they overlap.
func TestOverlapAgainstTruth(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 13))
		r := watchedRig(1, 8, 8)
		began := map[uint64]int64{}
		var open []uint64
		for id := uint64(1); id < 200; id++ {
			for len(open) < 1+rng.IntN(5) {
				id++
				r.hit(r.task, 0, id)
				open, began[id] = append(open, id), r.m.now
			}
			at := rng.IntN(len(open))
			if seed%3 == 0 {
				at = len(open) - 1
			}
			r.hit(r.task, 1, open[at])
			b := r.k.records[len(r.k.records)-1].(*stream.Boundary)
			if truth := r.m.now - began[open[at]]; b.Doubt == stream.DoubtNone && b.Duration != truth {
				t.Fatalf("seed %d: %d took %d, told as %d", seed, open[at], truth, b.Duration)
			}
			open = slices.Delete(open, at, at+1)
		}
		if nested := seed%3 == 0; nested != (r.told() == "") || strings.HasPrefix(r.told(), "maybe") {
			t.Fatalf("seed %d: told %q", seed, r.told())
		}
	}
	for name, args := range map[string]func(rng *rand.Rand, depth, id uint64) (enter, exit uint64){
		"depths":         func(_ *rand.Rand, depth, _ uint64) (uint64, uint64) { return depth, depth - 1 },
		"depths up":      func(_ *rand.Rand, depth, _ uint64) (uint64, uint64) { return depth, depth + 1 },
		"sizes, results": func(rng *rand.Rand, _, _ uint64) (uint64, uint64) { return rng.Uint64N(4), rng.Uint64N(3) },
		"small numbers":  func(rng *rand.Rand, _, _ uint64) (uint64, uint64) { return rng.Uint64N(3), rng.Uint64N(3) },
		"lines":          func(rng *rand.Rand, _, id uint64) (uint64, uint64) { return id % 7, id%7 + 1 },
		"two objects":    func(_ *rand.Rand, depth, _ uint64) (uint64, uint64) { return depth % 2, depth % 2 },
	} {
		for seed := range uint64(200) {
			rng := rand.New(rand.NewPCG(seed, 14))
			r := watchedRig(1, 8, 8)
			var exits []uint64
			for id := range uint64(400) {
				if depth := uint64(len(exits)); depth < 6 && (depth == 0 || rng.IntN(2) == 0) {
					enter, exit := args(rng, depth+1, id)
					r.hit(r.task, 0, enter)
					exits = append(exits, exit)
				} else {
					r.hit(r.task, 1, exits[depth-1])
					exits = exits[:depth-1]
				}
			}
			if o := r.Overlaps(); len(o) > 0 && o[0].Certain {
				t.Errorf("%s, seed %d: told %s", name, seed, r.told())
				break
			}
		}
	}
}

// Watching takes no memory in steady state, and a bounded amount ever.
func TestOverlapIsBounded(t *testing.T) {
	r := watchedRig(4, 8, 8)
	r.Engine.lives.emit.out = discard{}
	n := uint64(0)
	round := func() {
		for i := range uint64(3) {
			r.hit(r.task, 0, n+i, 1, n-i, 7)
		}
		for i := range uint64(3) {
			r.hit(r.task, 1, n+i, 1, n-i, 7)
		}
		n += 3
	}
	round()
	if a := testing.AllocsPerRun(100, round); a > 0 {
		t.Errorf("%v allocations in a round, want none", a)
	}
	if r.told() == "" {
		t.Error("not told")
	}
	for i := range uint64(4 * maxWatchedOpen) {
		r.hit(r.task, 0, i, i, i, i)
	}
	w := r.tasks.thread(r.task.tid).lanes[0].witnesses
	if len(w) != 1 || w[0].open() > maxWatchedOpen {
		t.Errorf("%d witnesses, %d open", len(w), w[0].open())
	}
	for i := range uint64(4 * maxWatchedOpen) {
		r.hit(r.task, 1, i, i, i, i)
	}
	if w[0].full || w[0].open() != 0 {
		t.Error("values are kept of scopes that have ended")
	}
}
