// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/stream"
)

// halfDead names the pairs of which only one side was ever hit, though probes
// were under both: a program that never tells of the other side, or a pair that
// does not belong together.
func (s *session) halfDead() []stream.Note {
	type sides struct{ enters, exits uint64 }
	hits := make(map[*pair]*sides)
	for _, p := range s.choice.pairs {
		hits[p] = &sides{}
	}
	for id, site := range s.choice.sites {
		n := hits[site.pair]
		switch {
		case n == nil || site.over != nil:
		case site.Effect == probe.Enter:
			n.enters += s.hits(uint32(id))
		default:
			n.exits += s.hits(uint32(id))
		}
	}
	var out []stream.Note
	for _, p := range s.choice.pairs {
		n := hits[p]
		what, count := "was entered and never exited", n.enters
		if n.enters == 0 {
			what, count = "was exited and never entered", n.exits
		}
		if count == 0 || n.enters > 0 && n.exits > 0 {
			continue
		}
		if p.spec.Requires != "" {
			what += ": " + p.spec.Requires
		}
		out = append(out, stream.Note{What: fmt.Sprintf("pair %s %s", p.ID, what), Count: count})
	}
	return out
}
