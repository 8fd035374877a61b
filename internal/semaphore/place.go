// SPDX-License-Identifier: Apache-2.0

package semaphore

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/process"
)

// Site is a probe with a semaphore, as its file describes it.
type Site struct {
	Location  uint64 // address of the probe, before the load bias
	Offset    uint64 // of the probe in the file
	Semaphore uint64 // address of the semaphore, before the load bias
	RefCtr    uint64 // of the semaphore in the file
}

// State says what raising the semaphores of a file does in a process. Where its
// semaphores differ, the greatest holds.
type State uint8

// The states.
const (
	// Unmapped: the process does not have the file mapped.
	Unmapped State = iota
	// Right: Linux counts where the program reads.
	Right
	// Nowhere: Linux cannot count, because the program has the semaphore in
	// memory that cannot be written.
	Nowhere
	// Twice: the program has the file mapped more than once and reads in several
	// places, of which Linux knows one.
	Twice
	// Elsewhere: Linux counts where the program does not read: the file is not
	// relocated yet.
	Elsewhere
)

// counter is one semaphore of a file in a process.
type counter struct {
	sites []Site   // that it enables
	read  []uint64 // addresses at which the program reads it, one for each copy of the file
	count uint64   // address at which Linux counts, 0 for none
	// doubtful: its offset or that of a probe is mapped more than once, so that
	// Linux may have counted elsewhere before, or (for a file that was mapped after
	// the attach) one breakpoint of several.
	doubtful bool
}

func (c *counter) state() State {
	switch {
	case len(c.read) == 0:
		return Unmapped
	case c.count == 0:
		return Nowhere
	case !slices.Contains(c.read, c.count):
		return Elsewhere
	case len(c.read) > 1:
		return Twice
	}
	return Right
}

// Look says what raising the semaphores of sites does in a process that has
// their file mapped like this.
func Look(mappings []process.Mapping, sites []Site) State {
	worst := Unmapped
	for _, c := range counters(mappings, sites) {
		worst = max(worst, c.state())
	}
	return worst
}

// counters returns the semaphores of sites. Mappings are all those of the file,
// in the order of addresses.
func counters(mappings []process.Mapping, sites []Site) []*counter {
	var all []*counter
	known := make(map[uint64]*counter)
	for _, s := range sites {
		if s.Semaphore == 0 || s.RefCtr == 0 {
			continue
		}
		c := known[s.RefCtr]
		if c == nil {
			c = &counter{read: readers(mappings, s)}
			c.count, c.doubtful = counts(mappings, s.RefCtr), mapped(mappings, s.RefCtr) > 1
			known[s.RefCtr] = c
			all = append(all, c)
		}
		c.sites = append(c.sites, s)
		c.doubtful = c.doubtful || mapped(mappings, s.Offset) > 1
	}
	return all
}

// at returns the address at which a mapping shows a file offset.
func at(m process.Mapping, offset uint64) (address uint64, ok bool) {
	if offset < m.Offset || offset-m.Offset >= m.End-m.Start {
		return 0, false
	}
	return m.Start + (offset - m.Offset), true
}

// readers returns the addresses at which the copies of a site read its
// semaphore: a copy is where code and semaphore are mapped as far apart as the
// file has them.
func readers(mappings []process.Mapping, s Site) []uint64 {
	var found []uint64
	for _, m := range mappings {
		code, ok := at(m, s.Offset)
		if !ok || !m.Executable() {
			continue
		}
		address := code - s.Location + s.Semaphore
		there := slices.ContainsFunc(mappings, func(m process.Mapping) bool {
			a, ok := at(m, s.RefCtr)
			return ok && a == address
		})
		if there && !slices.Contains(found, address) {
			found = append(found, address)
		}
	}
	return found
}

// counts returns where Linux counts, 0 for nowhere.
func counts(mappings []process.Mapping, refCtr uint64) uint64 {
	for _, m := range mappings {
		if address, ok := at(m, refCtr); ok && len(m.Perms) > 3 && m.Perms[1] == 'w' && m.Perms[3] == 'p' {
			return address
		}
	}
	return 0
}

// mapped returns how many mappings show a file offset.
func mapped(mappings []process.Mapping, offset uint64) (n int) {
	for _, m := range mappings {
		if _, ok := at(m, offset); ok {
			n++
		}
	}
	return n
}
