// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// A program that leaves phases without their exits, of which records are lost, in
// words: "+a1" enters a with token 1, "-1" exits it; in brackets, the record is
// lost. What is reported: "+a/b", "-a/b", with the reason where phasetrace made it.
func playLost(script string, policy Policy) (told []string) {
	k := &keeper{}
	e := New(Config{SessionID: "s", PageSize: 4096, Policy: policy}, k)
	addSites(e)
	m := newMachine(e)
	task := m.newTask(0)
	for _, word := range strings.Fields(script) {
		lost := word[0] == '['
		m.full = func() bool { return lost }
		word = strings.Trim(word, "[]")
		if word[0] == '+' {
			m.marker(task, enterMarker, uint64(word[2]-'0'), word[1:2], -1)
		} else {
			m.marker(task, exitMarker, uint64(word[1]-'0'), "", -1)
		}
	}
	for _, r := range k.records {
		switch r := r.(type) {
		case *stream.Boundary:
			text := map[string]string{"enter": "+", "exit": "-"}[r.Action.String()] + strings.Join(r.PathParts(), "/")
			if r.Synthetic != stream.ReasonNone {
				text += " " + string(r.Synthetic)
			}
			told = append(told, text)
		case *stream.Violation:
			told = append(told, r.Err.Kind.String())
		case *stream.Orphan:
			told = append(told, "orphan "+string(r.Reason))
		}
	}
	if n := e.stats.Internal(); n > 0 {
		told = append(told, fmt.Sprint(n, " mishandled"))
	}
	return told
}

// While sites are being attached, the kernel may count enters whose exits have no
// probe yet. What it counts in a gap then says nothing of open phases.
func TestLostWhileAttaching(t *testing.T) {
	k := &keeper{}
	e := New(Config{SessionID: "s", PageSize: 4096, Policy: PolicyUnwind}, k)
	addSites(e)
	m := newMachine(e)
	task := m.newTask(0)
	m.marker(task, enterMarker, 1, "a", -1)
	m.marker(task, exitMarker, 1, "", -1)
	half := []probe.Site{{ID: 2 * pairWork}, {ID: 2*pairWork + 1}}
	e.Attaching(half)
	m.full = func() bool { return true }
	for range 10 { // only the probe of the enter is there
		m.marker(task, 2*pairWork, 0, "work", -1)
	}
	m.full = func() bool { return false }
	m.marker(task, enterMarker, 2, "b", -1)
	e.Attached(0, half, m.now+1, 1<<40)
	m.marker(task, exitMarker, 2, "", -1)
	for _, r := range k.records {
		if b, ok := r.(*stream.Boundary); ok && b.Path.Depth() > 1 {
			t.Errorf("%s: no phase is known to be around it", b.Path)
		}
	}
}

// The first record that proves what is open makes the stack true again.
func TestProofs(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{
			// b was left; the exit of a, whose enter is lost, proves it.
			"a token of a phase whose enter is lost",
			"+x9 -9 [+a1] +b2 -1 +c3 -3",
			"+x, -x, +(lost) records_lost, +(lost)/b, -(lost)/b records_lost, -(lost) records_lost, +c, -c",
		},
		{
			// b and c were left, and the gap hides it: a is what its exit says.
			"a token of an open phase, after a gap",
			"+a1 [+b2] [+c3] -1 +d4 -4",
			"+a, -a, +d, -d",
		},
		{
			// The exit of a is out of order and lost: b is open all the same, and then
			// nothing is.
			"a token of a phase that the count takes for over",
			"+a1 +b2 [-1] -2 +c3 -3",
			"+a, +a/b, -a/b, -a records_lost, +c, -c",
		},
		{
			// c was left in b. The kernel counts it still when the exits of b and of a
			// are lost: both are over, for that is what it counts less.
			"the kernel's count, with what was left before",
			"+a1 +b2 [+c3] +d4 -4 -2 [-1] [+e5] +f6 -6 -5 +g7 -7",
			"+a, +a/b, +a/b/(lost) records_lost, +a/b/(lost)/d, -a/b/(lost)/d, -a/b/(lost) records_lost, -a/b, " +
				"-a records_lost, +(lost) records_lost, +(lost)/f, -(lost)/f, -(lost) records_lost, +g, -g",
		},
		{
			// The same with a violation seen: c never comes, and the program goes on.
			"the kernel's count, after a violation",
			"+a1 +b2 +c3 -2 [-1] [+e5] +f6 -6 -5 +g7 -7",
			"+a, +a/b, +a/b/c, not_lifo, -a/b/c unwound, -a/b, " +
				"-a records_lost, +(lost) records_lost, +(lost)/f, -(lost)/f, -(lost) records_lost, +g, -g",
		},
		{
			// A program that exits out of order: what is lost is such an exit, not that
			// of a.
			"the kernel's count, where exits come late",
			"+a1 +b2 +c3 -2 -3 +d4 +e5 -4 [-5] +f6 -6 -1",
			"+a, +a/b, +a/b/c, not_lifo, -a/b/c unwound, -a/b, orphan repaired, " +
				"+a/d, +a/d/e, not_lifo, -a/d/e unwound, -a/d, +a/f, -a/f, -a",
		},
		{
			// A library that is loaded again gives out the same tokens.
			"a token that comes again",
			"+a1 -1 +x9 [+b1] -1 -9",
			"+a, -a, +x, +x/(lost) records_lost, -x/(lost) records_lost, -x",
		},
		{
			// Whether b was left, or its exit is lost and something else was left in the
			// gap, nobody knows.
			"no blame for what may be lost",
			"+a1 +b2 [-2] [+c3] -1",
			"+a, +a/b, -a/b records_lost, -a",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := playLost(c.script, PolicyUnwind); !slices.Equal(got, strings.Split(c.want, ", ")) {
				t.Errorf("%s:\n%s\nwant\n%s", c.script, strings.Join(got, ", "), c.want)
			}
		})
	}
}
