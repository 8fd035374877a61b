// SPDX-License-Identifier: Apache-2.0

package session

import (
	"maps"
	"slices"
	"time"

	"github.com/phasetrace/phasetrace/internal/budget"
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// throttle keeps what tracing costs within a budget: it leaves pairs out, for all
// processes, and brings them back. All of it is the watcher's.
type throttle struct {
	core     *core
	costs    *costs
	plan     *plan
	targets  *targets
	tracer   *loader.Tracer
	keeper   *keeper
	settler  *settler
	releaser *releaser
	post     func(func()) // to the watcher's goroutine
	again    func(*target)

	budget  float64
	control *budget.Controller
	pairs   []*throttled
	number  map[*pair]int
	gauge   gauge
	latency time.Duration // of attaching and removing a pair, about
}

// throttled is a pair and what is left of it.
type throttled struct {
	*pair
	state   budget.State
	part    float64
	out     bool      // its probes are not there, or are being removed
	leaving int       // attachments that are being removed
	since   time.Time // while they are there: since when
	on      bool      // they are there
	onTime  time.Duration
	cycle   time.Time // when the last part of the time began
	version int       // of the state: timers of an older one do nothing
}

// group is what is attached together, and removed together: probes of one pair, or of
// one point, in one file.
type group struct {
	file  *file
	at    *loader.Attachment
	sites []uint32
}

// throttleInterval is how often the cost is looked at.
const throttleInterval = 500 * time.Millisecond

const (
	// dutyCycle is how often a pair is traced that is traced for a part of the time.
	dutyCycle = time.Second
	// leastOn is how long that must be to be worth it; the cycle is longer then.
	leastOn = 20 * time.Millisecond
	// removalWait is how soon it is looked again whether probes are out.
	removalWait = 10 * time.Millisecond
)

// groups divides sites into what is removed together.
func (th *throttle) groups(sites []probe.Site) [][]probe.Site {
	if th == nil {
		return [][]probe.Site{sites}
	}
	var out [][]probe.Site
	index := make(map[*pair]int)
	for _, p := range sites {
		s := th.plan.sites[p.ID]
		at, known := index[s.pair]
		switch {
		case s.over != nil: // a point serves several pairs
			out = append(out, []probe.Site{p})
		case known:
			out[at] = append(out[at], p)
		default:
			index[s.pair] = len(out)
			out = append(out, []probe.Site{p})
		}
	}
	return out
}

// look takes what has happened since the last look, and does what that calls for.
func (th *throttle) look() {
	th.know()
	in, ok := th.measure()
	if !ok {
		return
	}
	for _, c := range th.control.Step(in) {
		th.change(c)
	}
}

// know makes the pairs known that have come.
func (th *throttle) know() {
	for _, p := range th.plan.pairs {
		if _, known := th.number[p]; !known {
			th.number[p] = len(th.pairs)
			th.pairs = append(th.pairs, &throttled{pair: p, part: 1, on: true, since: time.Now()})
		}
	}
}

// change does what the controller decided.
func (th *throttle) change(c budget.Change) {
	p := th.pairs[c.Pair]
	p.state, p.part = c.State, c.Part
	p.version++
	th.tell(p, c)
	switch c.State {
	case budget.Traced:
		th.bring(p)
	case budget.LeftOut:
		th.remove(p)
	case budget.Partly:
		th.remove(p) // now: it costs too much
		th.later(p, p.period()-time.Duration(p.part*float64(p.period())), th.on)
	}
}

// tell tells what becomes of a pair, in the stream.
func (th *throttle) tell(p *throttled, c budget.Change) {
	now := clock.Monotonic()
	r := &stream.PairChange{
		Time: now, Name: string(p.Name), Provider: p.spec.Provider, Enter: p.spec.Enter,
		Part: c.Part, Share: c.Share, Budget: th.budget, ForGood: c.ForGood, Trial: c.Trial,
	}
	th.core.mu.Lock()
	th.core.out.Record(r)
	th.core.mu.Unlock()
}

// later does something about a pair after a while, if its state is the same then.
func (th *throttle) later(p *throttled, wait time.Duration, do func(*throttled)) {
	version := p.version
	time.AfterFunc(max(wait, 0), func() {
		th.post(func() {
			if p.version == version {
				do(p)
			}
		})
	})
}

// period is the length of the cycle of a pair that is traced for a part of the time.
func (p *throttled) period() time.Duration {
	return max(dutyCycle, time.Duration(float64(leastOn)/p.part))
}

// on begins the part of the time in which a pair is traced, and off ends it.
func (th *throttle) on(p *throttled) {
	began := time.Now()
	th.bring(p)
	took := time.Since(began)
	th.latency = (th.latency + took) / 2
	th.control.Latency(th.latency)
	on := time.Duration(p.part * float64(p.period()))
	th.later(p, max(on-2*took, on/4), th.off)
	p.cycle = began
}

func (th *throttle) off(p *throttled) {
	th.remove(p)
	th.later(p, time.Until(p.cycle.Add(p.period())), th.on)
}

// users are the pairs for which a site is traced. A point that tells attributes is traced
// for the pairs that take them: others that it proves to be over are found out at their
// next enter without it.
func (s *site) users() []*pair {
	if len(s.takers) > 0 {
		return s.takers
	}
	return append([]*pair{s.pair}, s.over...)
}

// payers says, for each pair, which one the hits of its sites are booked to: another one
// where the pair is left out, and points of it are traced for that other.
func (th *throttle) payers() []int {
	out := make([]int, len(th.pairs))
	for n := range out {
		out[n] = n
	}
	for _, s := range th.plan.sites {
		n, known := th.number[s.pair]
		if s.over == nil || !known || !th.pairs[n].out {
			continue
		}
		for _, u := range s.users() {
			if m, known := th.number[u]; known && !th.pairs[m].out {
				out[n] = m
			}
		}
	}
	return out
}

// unused reports whether all pairs for which a site is traced are left out.
func (th *throttle) unused(id uint32) bool {
	s := th.plan.sites[id]
	return s != nil && !slices.ContainsFunc(s.users(), func(p *pair) bool {
		n, known := th.number[p]
		return !known || !th.pairs[n].out
	})
}

// leavesOut reports whether a site is not to be attached.
func (th *throttle) leavesOut(id uint32) bool { return th != nil && th.unused(id) }

// remove removes the probes of a pair, without waiting for it.
func (th *throttle) remove(p *throttled) {
	if p.out {
		return
	}
	p.out = true
	p.stop()
	var old []uint32
	var leaving []group
	for _, r := range th.reaches() {
		r.groups = slices.DeleteFunc(r.groups, func(g group) bool {
			switch {
			case !slices.Contains(r.files[g.file], g.at):
				return true // it was removed for another reason
			case slices.ContainsFunc(g.sites, func(id uint32) bool { return !th.unused(id) }):
				return false
			}
			r.files[g.file] = slices.DeleteFunc(r.files[g.file], func(at *loader.Attachment) bool { return at == g.at })
			leaving = append(leaving, g)
			for _, id := range g.sites {
				if !slices.Contains(old, id) {
					old = append(old, id)
				}
			}
			return true
		})
	}
	th.core.removing(old)
	sites := th.renew(old)
	left := len(leaving)
	p.leaving += left
	for _, g := range leaving {
		th.settler.settleLast(g.file)
		g.file.removals.begin()
		th.tracer.Release(g.at, func() {
			g.file.removals.end()
			th.post(func() {
				th.removed(g)
				p.leaving--
				if left--; left == 0 {
					th.core.retire(func() { th.post(func() { th.forget(old, sites) }) })
				}
			})
		})
	}
}

// removed notes that the probes of a group are out.
func (th *throttle) removed(g group) {
	g.file.attachments--
	if guard := g.file.guard.Load(); guard != nil {
		guard.removed(g.at)
		th.keeper.unguard(g.file, guard)
	}
	th.releaser.retireUnused(g.file)
}

// forget lets go of sites of which everything has been read.
func (th *throttle) forget(ids []uint32, sites []*site) {
	th.plan.renewed(sites)
	th.plan.free(sites)
	th.tracer.Forget(ids)
	th.core.removeSites(ids)
}

// stop notes that the probes of a pair are not there any more.
func (p *throttled) stop() {
	if p.on {
		p.on = false
		p.onTime += time.Since(p.since)
	}
}

func (th *throttle) reaches() []*reach {
	all := []*reach{&th.targets.shared}
	for _, t := range th.targets.inOrder() {
		all = append(all, &t.reach)
	}
	return all
}

// renew puts other sites, which are not attached, in the place of some in the plans of
// their files: the numbers of these are not used again before everything of theirs has
// been read. It returns the old ones.
func (th *throttle) renew(ids []uint32) (old []*site) {
	if len(ids) == 0 {
		return nil
	}
	for f := range th.targets.allFiles() {
		for i := range f.plan {
			id := f.plan[i].ID
			if !slices.Contains(ids, id) {
				continue
			}
			old = append(old, th.plan.sites[id])
			f.plan[i].ID = th.plan.again(th.plan.sites[id])
			for _, r := range th.reaches() {
				delete(r.sites, id)
				delete(r.bare, id)
				r.out[f.plan[i].ID] = true
			}
		}
	}
	return old
}

// bring attaches the probes of a pair again, in every process that has them.
func (th *throttle) bring(p *throttled) {
	if !p.out {
		return
	}
	if p.leaving > 0 { // as long as the old probes are there the kernel counts their hits
		th.later(p, removalWait, th.bring)
		return
	}
	p.out = false
	files := make(map[*file]bool)
	for _, r := range th.reaches() {
		for id := range r.out {
			if !th.unused(id) {
				delete(r.out, id)
			}
		}
	}
	for f := range th.targets.allFiles() {
		files[f] = slices.ContainsFunc(f.plan, func(s probe.Site) bool { return th.plan.sites[s.ID].pair == p.pair })
	}
	defer func() { p.on, p.since = true, time.Now() }()
	for _, t := range th.targets.inOrder() {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(t.files)), func(f *file) bool { return files[f] }) {
			continue
		}
		th.again(t)
		if th.targets.follow { // what is attached is for all
			for f := range t.files {
				delete(files, f)
			}
		}
	}
}
