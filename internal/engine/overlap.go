// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/event"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A pair without a key nests: an exit is that of the innermost open scope. Where
// phases of one thread overlap instead, that is the wrong one, and the arguments
// can show it. Of each argument that the enters and the exits of a pair have in
// common, the engine supposes that it names the phase, until an exit has a value
// that no open scope has. As long as it supposes that, an exit with the value of
// another open scope than the one it was matched with leaves it unknown how long
// that one took.
//
// That the phases overlap is certain only where the values of many exits were, to
// the last one, those of the enters. A number that does not name phases, such as a
// depth or a result, does not come out even.

const (
	// maxWatchedOpen bounds the open scopes of a pair that are watched on one lane.
	maxWatchedOpen = 128
	// convincing is how many exits in a row must have the value of an open scope
	// where one is always open.
	convincing = 32
	// certain is how many exits must have shown that they were matched with another
	// scope than their own.
	certain = 8
)

// Overlap is a pair of which exits had the arguments of another open scope than the
// one they were matched with.
type Overlap struct {
	Pair  *Pair
	Count uint64 // such exits
	// Key tells the phases apart, if they overlap. Empty: its arguments do not name
	// phases, as others of its exits have shown.
	Key []WatchedArg
	// Certain: they do overlap.
	Certain bool
}

// watch is what the arguments of a pair have shown.
type watch struct {
	args  [stream.MaxKeyValues]watchedArg
	alive uint8 // a bit for each argument that may name the phases
	begun bool
	// doubtful counts exits with the arguments of another open scope.
	doubtful uint64
}

// watchedArg is what one argument has shown.
type watchedArg struct {
	bits   uint8 // width at the narrowest site, 0: none yet
	shared bool  // two open scopes had the same value
	proven uint64
	missed uint64 // exits with a value that was not open, but may have been before
}

// add takes what a site captures of the pair's arguments. One that it lacks is
// watched no more.
func (w *watch) add(s *Site) {
	if !w.begun {
		w.begun, w.alive = true, 1<<len(s.Pair.Watched)-1
	}
	for i, a := range s.Watched {
		known := &w.args[i].bits
		switch {
		case a.Slot == None:
			w.alive &^= 1 << i
		case *known == 0 || a.bits() < *known:
			*known = a.bits()
		}
	}
}

// same compares two values of an argument.
func (a *watchedArg) same(x, y uint64) bool { return (x^y)<<(64-a.bits) == 0 }

// overlap returns what the arguments show of a pair.
func (w *watch) overlap(p *Pair) Overlap {
	o, best := Overlap{Pair: p, Count: w.doubtful}, -1
	for i, name := range p.Watched {
		a := &w.args[i]
		if w.alive>>i&1 == 0 || a.proven < certain*a.missed {
			continue
		}
		if !slices.ContainsFunc(o.Key, func(k WatchedArg) bool { return k.Enter == name.Enter || k.Exit == name.Exit }) {
			o.Key = append(o.Key, name)
		}
		o.Certain = o.Certain || a.proven >= certain
		if !a.shared && a.proven > 0 && (best < 0 || a.proven > w.args[best].proven) {
			best = i
		}
	}
	if best >= 0 { // else it takes all of them
		o.Key = p.Watched[best : best+1]
	}
	return o
}

// maxSuspects bounds the pairs that are told of.
const maxSuspects = 256

// suspect notes a pair of which an exit had the arguments of another open scope.
func (s *state) suspect(p *Pair) {
	p.watch.doubtful++
	if len(s.suspects) < maxSuspects && !slices.Contains(s.suspects, p) {
		s.suspects = append(s.suspects, p)
	}
}

// witness is what one lane of a thread knows of a watched pair.
type witness struct {
	pair *Pair
	// late: scopes may be open that nobody saw begin, because the thread is older
	// than the attach or has lost records. Their exits refute nothing.
	late bool
	full bool // too many are open: none is watched until all are closed
	args [stream.MaxKeyValues]openValues
}

// openValues are an argument's values of the open scopes.
type openValues struct {
	values []uint64
	wrong  uint64 // exits matched with another scope than their own, not proven yet
	row    int    // exits in a row that had the value of an open scope
	// unseen are exits of scopes that nobody saw begin, or so it seems: then as many
	// will find no scope. Nothing is concluded until they have come, or until it has
	// been right for long.
	unseen  int
	resumed uint8 // how often that was given up
}

// witness returns what a lane knows of the pair of a site.
func (ln *lane) witness(th *thread, s *Site) *witness {
	for i := range ln.witnesses {
		if w := &ln.witnesses[i]; w.pair == s.Pair {
			w.late = w.late || th.gaps > 0
			return w
		}
	}
	late := th.gaps > 0 || th.key.StartTime < th.process.gate(s).boot
	ln.witnesses = append(ln.witnesses, witness{pair: s.Pair, late: late})
	return &ln.witnesses[len(ln.witnesses)-1]
}

// clear forgets what is open.
func (w *witness) clear() {
	for i := range w.args {
		a := &w.args[i]
		a.values, a.wrong, a.row, a.unseen = a.values[:0], 0, 0, max(a.unseen, 0)
	}
	w.full = false
}

// open is the largest number of values that are open.
func (w *witness) open() (n int) {
	for i := range w.args {
		n = max(n, len(w.args[i].values))
	}
	return n
}

// watchEnter notes the arguments of a scope that has begun.
func (ln *lane) watchEnter(th *thread, s *Site, ev *event.Marker, sc *scope) {
	w := ln.witness(th, s)
	if w.full = w.full || w.open() == maxWatchedOpen; w.full {
		return
	}
	for i, a := range s.Watched {
		if s.Pair.watch.alive>>i&1 == 0 {
			continue
		}
		from, to, arg := &ev.Values[a.Slot], &w.args[i], &s.Pair.watch.args[i]
		if from.Unreadable { // the exit is going to have a value that is not open
			w.late = true
			continue
		}
		arg.shared = arg.shared || slices.ContainsFunc(to.values, func(v uint64) bool { return arg.same(v, from.Int) })
		to.values = append(to.values, from.Int)
		sc.watched[i] = from.Int
	}
	sc.isWatched = true
}

// watchExit judges the exit of a scope by its arguments: whether they are those of
// another one.
func (ln *lane) watchExit(th *thread, s *Site, ev *event.Marker, sc *scope) stream.Doubt {
	w, doubt := ln.witness(th, s), stream.DoubtNone
	if w.full || !sc.isWatched && !sc.standIn() {
		return doubt
	}
	for i, a := range s.Watched {
		v := &ev.Values[a.Slot]
		switch {
		case s.Pair.watch.alive>>i&1 == 0 || v.Unreadable:
		case sc.standIn():
			w.args[i].standIn(&s.Pair.watch.args[i], v.Int)
		case w.exit(i, v.Int, sc.watched[i]):
			doubt = stream.DoubtOverlapping
		}
	}
	return doubt
}

// exit judges one argument of an exit, which was matched with a scope whose value
// is taken. It reports whether the exit is another scope's.
func (w *witness) exit(i int, value, taken uint64) (wrong bool) {
	arg, open := &w.pair.watch.args[i], &w.args[i]
	other, sure := !arg.same(value, taken), arg.proven >= certain
	found := open.remove(arg, value)
	switch {
	case !found && !w.late:
		w.pair.watch.alive &^= 1 << i
		return false
	case !found:
		open.unseen++
		arg.missed++
		open.wrong, open.row = 0, 0
		return sure && other
	}
	open.row++
	if open.unseen > 0 {
		if open.row >= convincing<<open.resumed {
			open.unseen = 0
			open.resumed = min(open.resumed+1, 16)
		}
		return sure && other
	}
	if other {
		open.wrong++
	}
	// Where phases overlap, a value that they share does not say which one it is.
	wrong = other || arg.shared && (open.wrong > 0 || arg.proven > 0)
	if len(open.values) == 0 || open.row >= convincing {
		arg.proven += open.wrong
		open.wrong = 0
	}
	return wrong
}

// remove takes a value away, and reports whether it was open.
func (v *openValues) remove(arg *watchedArg, value uint64) bool {
	for at := len(v.values) - 1; at >= 0; at-- {
		if arg.same(v.values[at], value) {
			v.values = slices.Delete(v.values, at, at+1)
			return true
		}
	}
	return false
}

// standIn takes an exit that ended a stand-in. If it was a scope's that is still
// open, that one will be ended by the exit of the scope that was lost.
func (v *openValues) standIn(arg *watchedArg, value uint64) {
	if v.remove(arg, value) {
		v.unseen--
	}
}

// watchOrphan notes an exit without an open scope: that of one whose scope was
// taken for another's.
func (ln *lane) watchOrphan(th *thread, s *Site) {
	w := ln.witness(th, s)
	for i := range w.args {
		if a := &w.args[i]; a.unseen > 0 {
			a.unseen--
		}
	}
}

// watchClosed forgets the values of scopes whose exits never came, once no scope of
// the pair is open.
func (t *scopes) watchClosed(ln *lane, th *thread, s *Site) {
	w := ln.witness(th, s)
	if w.open() == 0 && !w.full {
		return
	}
	if t.find(ln, func(sc *scope) bool { return sc.pair == s.Pair }) == nil {
		w.clear()
	}
}
