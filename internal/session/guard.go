// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/await"
	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/lease"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
)

// Probes belong to places of a file, whatever is there. Contents that are written
// in place would get the breakpoints of the old ones, in the middle of their
// instructions and in every process. So no probe is in a file without a guard:
// whoever wants to write waits until the probes are out.

// guards are those of a session. They work beside the watcher: a writer must not
// wait until a look is over.
type guards struct {
	core *core
	mode mode
	// before and broken are called, on a goroutine of its own, when a guard gives way:
	// with its probes still there, and when they are out.
	before, broken func(*guard)

	mu     sync.Mutex
	closed bool
	giving sync.WaitGroup // guards that give way
	all    map[fileKey]*guard
	keeper *lease.Keeper  // nil until it is needed, as is the next
	watch  *lease.Watcher // for files that cannot be kept
}

// guard is that of one file.
type guard struct {
	guards    *guards
	tracer    *loader.Tracer
	key       fileKey
	path      string
	unkept    error            // why writers do not wait; nil: they do
	file      *os.File         // the same open file, until the guard is let go of
	lease     *lease.Lease     // nil: unkept
	unsee     func()           // ends the watch, nil for none
	old       []process.Mapped // who showed the file when it gave way
	oldErr    error            // why that is not known
	misplaced atomic.Bool      // its semaphores have to be settled before its probes are removed
	at        int64            // when it gave way, ns CLOCK_MONOTONIC
	err       error            // of that

	mu        sync.Mutex
	attaching int
	quiet     *sync.Cond                      // attaching is 0
	given     bool                            // it gives way, or has
	probes    map[*loader.Attachment][]uint32 // and the sites they are for
}

// errGivenWay says that a file is about to be written to.
var errGivenWay = errors.New("it is being written to")

func newGuards(core *core, m mode, before, broken func(*guard)) *guards {
	return &guards{core: core, mode: m, before: before, broken: broken, all: make(map[fileKey]*guard)}
}

// hold returns the guard of an open file. The error is lease.ErrWriter when it
// cannot be guarded now, and errGivenWay when its guard gives way.
func (gs *guards) hold(h *os.File, path string, tracer *loader.Tracer) (*guard, error) {
	id, err := identify(h)
	if err != nil {
		return nil, err
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.closed {
		return nil, errGivenWay
	}
	if g := gs.all[id.fileKey]; g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.given {
			return nil, errGivenWay
		}
		return g, nil
	}
	g := &guard{guards: gs, tracer: tracer, key: id.fileKey, path: path, probes: make(map[*loader.Attachment][]uint32)}
	g.quiet = sync.NewCond(&g.mu)
	if err := g.keep(h); err != nil {
		return nil, err
	}
	gs.all[g.key] = g
	return g, nil
}

// keep takes a lease, or watches a file of which there is none. The guards are
// locked.
func (g *guard) keep(h *os.File) (err error) {
	if g.guards.keeper == nil {
		g.guards.keeper = lease.NewKeeper()
	}
	if g.file, err = reopen(h); err != nil {
		return err
	}
	g.lease, err = g.guards.keeper.Take(g.file, g.giveWay)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, lease.ErrUnsupported) && !errors.Is(err, lease.ErrPermission):
		g.file.Close()
		return err
	}
	g.unkept = err
	if g.guards.watch == nil {
		if g.guards.watch, err = lease.NewWatcher(); err != nil {
			return nil // nothing is worse than without
		}
	}
	g.unsee, _ = g.guards.watch.Watch(g.file, g.giveWay)
	return nil
}

// reopen opens an open file once more: what is a lease to one is none to the other.
func reopen(h *os.File) (*os.File, error) {
	return process.OpenRegular(fmt.Sprintf("/proc/self/fd/%d", h.Fd()))
}

// tellGuard tells a file's guard what has to be done before its probes are removed.
func (f *file) tellGuard() {
	if g := f.guard.Load(); g != nil && f.semaphores.misplaced() {
		g.misplaced.Store(true)
	}
}

// keeps reports whether the file cannot be written to.
func (g *guard) keeps() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unkept == nil && !g.given
}

// attach makes probes with a function and guards them.
func (g *guard) attach(sites []probe.Site, with func() (*loader.Attachment, error)) (*loader.Attachment, error) {
	g.mu.Lock()
	if g.given {
		g.mu.Unlock()
		return nil, errGivenWay
	}
	g.attaching++
	g.mu.Unlock()
	at, err := with()
	g.mu.Lock()
	defer g.mu.Unlock()
	if at != nil {
		g.probes[at] = siteIDs(sites)
	}
	if g.attaching--; g.attaching == 0 {
		g.quiet.Broadcast()
	}
	return at, err
}

// removed says that probes are out.
func (g *guard) removed(at *loader.Attachment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.probes, at)
}

// free lets go of the file if no probe is in it.
func (g *guard) free() {
	g.guards.mu.Lock()
	defer g.guards.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.given && g.attaching == 0 && len(g.probes) == 0 {
		g.given = true
		g.end()
		g.file.Close()
	}
}

// end lets writers go on. The guards are locked.
func (g *guard) end() {
	if g.guards.all[g.key] == g {
		delete(g.guards.all, g.key)
	}
	if g.lease != nil {
		g.lease.Release()
	}
	if g.unsee != nil {
		g.unsee()
	}
}

// seeTime bounds the search for who shows a file that is about to be written to.
const seeTime = 500 * time.Millisecond

// giveWay removes the probes and lets the writer go on.
func (g *guard) giveWay() {
	probes, sites, ok := g.give()
	if !ok {
		return
	}
	gs := g.guards
	defer gs.giving.Done()
	gs.before(g)
	g.at = gs.core.removing(sites)
	g.err = gs.mode.removing(sites)
	g.tracer.Withdraw(probes...)
	if len(sites) > 0 {
		g.old, g.oldErr = whoMaps(g.file)
	}
	gs.mu.Lock()
	g.end()
	gs.mu.Unlock()
	gs.broken(g)
}

// give makes the guard take no more probes, and returns those that it has. false:
// it gives way already.
func (g *guard) give() (probes []*loader.Attachment, sites []uint32, ok bool) {
	if !g.guards.begin() {
		return nil, nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.given {
		g.guards.giving.Done()
		return nil, nil, false
	}
	g.given = true
	for g.attaching > 0 {
		g.quiet.Wait()
	}
	for at, ids := range g.probes {
		probes, sites = append(probes, at), append(sites, ids...)
	}
	return probes, sites, true
}

// begin counts a guard that gives way, unless all of them end.
func (gs *guards) begin() bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if !gs.closed {
		gs.giving.Add(1)
	}
	return !gs.closed
}

// whoMaps lists who shows a file, for as long as that may take.
func whoMaps(f *os.File) ([]process.Mapped, error) {
	ctx, cancel := context.WithTimeout(context.Background(), seeTime)
	defer cancel()
	return await.Do(ctx, func(ctx context.Context) ([]process.Mapped, error) { return process.MappingsOf(ctx, f) }, nil)
}

// close lets every writer go on. The probes must be out.
func (gs *guards) close() {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.closed = true
	gs.mu.Unlock()
	gs.giving.Wait()
	gs.mu.Lock()
	if gs.keeper != nil {
		gs.keeper.Close()
	}
	if gs.watch != nil {
		gs.watch.Close()
	}
	for _, g := range gs.all {
		g.file.Close()
	}
	clear(gs.all)
	gs.keeper, gs.watch = nil, nil
}

// removing tells the engine that the probes of sites are about to be removed, and
// returns when.
func (c *core) removing(sites []uint32) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := clock.Monotonic()
	c.engine.Removing(sites, now)
	return now
}
