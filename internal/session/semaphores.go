// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/process"
	"github.com/phasetrace/phasetrace/internal/semaphore"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Where Linux would raise a file's semaphores in another place than the process
// reads them, because the file is not relocated yet (package semaphore says
// why), attaching waits: for the file's first code, at which the process waits
// in turn, and for those that cannot or do not get there by looking again. A
// file that is attached for all processes, or for one that executes it again or
// loads it twice, is mapped without anybody being asked; then what Linux has
// counted in the wrong place is moved to the right one.

// semaphores is what is known of a file's semaphores.
type semaphores struct {
	sites    []semaphore.Site   // those that have one
	others   map[uint64]bool    // offsets where Linux does not raise it, for another tracer's sake
	shadowed bool               // one is, see usdt.Site
	twice    bool               // a process has had the file mapped more than once
	start    *loader.Attachment // that makes processes tell when they run its first code
	since    int64              // when that was attached
	mapped   mappedID           // as memory maps name the file; zero: nobody had it mapped
}

// mappedID names a file as memory maps do, which on some file systems is not
// what a look at the file says.
type mappedID struct{ dev, inode uint64 }

func semaphoresOf(f *usdt.File) (out semaphores) {
	for i := range f.Sites {
		if s := &f.Sites[i]; s.RefCtr != 0 {
			at := semaphore.Site{Location: s.Location, Offset: s.Offset, Semaphore: s.Semaphore, RefCtr: s.RefCtr}
			out.sites = append(out.sites, at)
			if s.Nop == probe.Nop1Then10 { // somebody may have a probe on either, or on both
				at.Location, at.Offset = at.Location+1, at.Offset+1
				out.sites = append(out.sites, at)
			}
			out.shadowed = out.shadowed || s.Shadowed
		}
	}
	return out
}

// attached notes which of the sites that have just been attached are among others.
func (s *semaphores) attached(sites []probe.Site, bare map[uint32]bool) {
	for _, p := range sites {
		switch {
		case !bare[p.ID]:
			delete(s.others, p.Offset)
		case s.others == nil:
			s.others = map[uint64]bool{p.Offset: true}
		default:
			s.others[p.Offset] = true
		}
	}
}

// counted returns the sites for which Linux raises their semaphores.
func (s *semaphores) counted() []semaphore.Site {
	if len(s.others) == 0 {
		return s.sites
	}
	return slices.DeleteFunc(slices.Clone(s.sites), func(site semaphore.Site) bool { return s.others[site.Offset] })
}

// misplaced reports whether Linux may have counted in the wrong place.
func (s *semaphores) misplaced() bool { return s.shadowed || s.twice }

// counters is what is known of a process's semaphores.
type counters struct {
	looked int64          // when the process was last looked at
	since  int64          // when files were found that are to be looked at again, 0: none
	off    bool           // the markers of one of these are off until then
	timed  bool           // somebody is going to look
	ahead  map[*file]bool // files whose first code is still to run, and will tell
	told   map[*file]bool // files that were told to stay off
	moved  bool           // the last look has raised semaphores
	passes bool           // every process that runs its files has to be looked at
}

// end is for a program that is over.
func (c *counters) end(s *shortfall) {
	if c.since != 0 && c.off && len(c.told) == 0 {
		s.off++
	}
}

// expect notes that a file is yet to run its first code, and will tell.
func (c *counters) expect(f *file) {
	if c.ahead == nil {
		c.ahead = make(map[*file]bool)
	}
	c.ahead[f] = true
}

// raisable reports whether attaching to sites of a file raises their semaphores
// where the process reads them.
func (f openFile) raisable(todo []probe.Site) bool {
	if !slices.ContainsFunc(todo, func(s probe.Site) bool { return s.RefCtr != 0 }) {
		return true
	}
	switch semaphore.Look(f.mappings(), f.semaphores.sites) {
	case semaphore.Unmapped:
		return !f.semaphores.shadowed
	case semaphore.Elsewhere:
		return false
	}
	return true
}

// mappings are those of the file in the process, as of the last look.
func (f openFile) mappings() []process.Mapping {
	if f.module == nil {
		return nil
	}
	return f.module.Mappings
}
