// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// telescope checks, to the byte, that the figures of a trace add up: the changes of
// the phases of a step and what happened between them to the change of the step, and
// the changes of a path's scopes to the session's sum. A change of null is 0. It
// returns what does not add up.
func telescope(t *traced, d device) []string {
	a := &adding{device: d, steps: map[int]*step{}, paths: map[string]*reading{}}
	for i := range t.boundaries {
		a.boundary(&t.boundaries[i])
	}
	a.ending(t.end)
	return a.problems
}

// adding adds the figures of a trace up.
type adding struct {
	device   device
	steps    map[int]*step       // by thread
	paths    map[string]*reading // the sums of exits
	problems []string
}

// step is an open step of a thread.
type step struct {
	first, last int64 // used at its enter, and at the last boundary
	sum         int64 // of the changes since then
}

func (a *adding) problem(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

func (a *adding) boundary(l *line) {
	r := pick(l.Metadata.GPU, a.device)
	if r == nil || r.Used == nil {
		return // reported elsewhere
	}
	exit := l.EventType == "phase_exit"
	if exit {
		a.path(join(l.Path), r)
	}
	thread := l.Metadata.Scope.ThreadID
	s := a.steps[thread]
	switch {
	case len(l.Path) == 1 && !exit:
		a.steps[thread] = &step{first: *r.Used, last: *r.Used}
		return
	case s == nil:
		a.problem("thread %d: a phase outside of a step at %d ns", thread, l.MonotonicNS)
		return
	case len(l.Path) > 1 && exit:
		s.sum += value(r.Change)
	default:
		s.sum += *r.Used - s.last
	}
	s.last = *r.Used
	if len(l.Path) > 1 {
		return
	}
	delete(a.steps, thread)
	if whole := *r.Used - s.first; s.sum != whole || value(r.Change) != whole {
		a.problem("thread %d: the step that ended at %d ns changed by %d bytes by its boundaries, by %d by its own figure, and by %d by what is in it",
			thread, l.MonotonicNS, whole, value(r.Change), s.sum)
	}
}

// path adds an exit to the sum of its path.
func (a *adding) path(path string, r *reading) {
	sum := a.paths[path]
	if sum == nil {
		sum = &reading{Change: new(int64), ChangeLow: new(int64), ChangeHigh: new(int64)}
		a.paths[path] = sum
	}
	if r.Change == nil {
		return
	}
	*sum.Change += *r.Change
	*sum.ChangeLow += value(r.ChangeLow)
	*sum.ChangeHigh += value(r.ChangeHigh)
	sum.ChangeScopes++
	if len(r.ChangeDoubt) == 0 {
		sum.Certain++
	}
}

func (a *adding) ending(e *ending) {
	if e == nil {
		a.problem("the trace has no end")
		return
	}
	for _, p := range e.Phases {
		path := join(p.Path)
		said, sum := pick(p.GPU, a.device), a.paths[path]
		delete(a.paths, path)
		switch {
		case said == nil || sum == nil:
			a.problem("phase %s: the session's sums or the lines lack it", path)
		case value(said.Change) != *sum.Change || value(said.ChangeLow) != *sum.ChangeLow || value(said.ChangeHigh) != *sum.ChangeHigh ||
			said.ChangeScopes != sum.ChangeScopes || said.Certain != sum.Certain:
			a.problem("phase %s: %d scopes changed by %d bytes (%d to %d), %d of them for certain; the session's sums are %d, %d (%d to %d), %d",
				path, sum.ChangeScopes, *sum.Change, *sum.ChangeLow, *sum.ChangeHigh, sum.Certain,
				said.ChangeScopes, value(said.Change), value(said.ChangeLow), value(said.ChangeHigh), said.Certain)
		}
	}
	for path := range a.paths {
		a.problem("phase %s: the session's sums lack it", path)
	}
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
