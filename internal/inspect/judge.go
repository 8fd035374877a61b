// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/probe"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// Kernel is what a kernel makes of nops.
type Kernel interface {
	// Refuses returns why a site at that offset of its file, on that kind of nop, is
	// left alone, "" when it is not.
	Refuses(offset uint64, n probe.Nop) string
	// Place returns where a site at that offset of its file is probed, and the
	// nop there.
	Place(offset uint64, n probe.Nop) (at uint64, used probe.Nop)
}

// Judge takes back what a trace on this kernel would leave alone: sites whose nop
// it refuses, and pairs that have no enter or no exit left. Of the others it notes
// which nop would be used.
func (l *Listing) Judge(k Kernel) {
	l.Refused = make([]string, len(l.Sites))
	for i := range l.Choices {
		if c := &l.Choices[i]; c.Chosen {
			l.judgeChoice(c, k.Refuses)
		}
	}
	l.Used = make([]probe.Nop, len(l.Sites))
	for i := range l.Sites {
		_, l.Used[i] = k.Place(l.Sites[i].Offset, l.Sites[i].Nop)
	}
}

func (l *Listing) judgeChoice(c *usdt.Choice, refuse func(uint64, probe.Nop) string) {
	left := func(sites []int) (n int, why string) {
		for _, s := range sites {
			if w := refuse(l.Sites[s].Offset, l.Sites[s].Nop); w != "" {
				l.Refused[s], why = w, w
				n++
			}
		}
		return n, why
	}
	enters, why := left(c.EnterSites)
	exits, also := left(c.ExitSites)
	left(c.ResetSites)
	left(c.ContextSites)
	if why == "" {
		why = also
	}
	switch {
	case why == "":
	case enters == len(c.EnterSites):
		c.Chosen, c.Why = false, "no enter can be attached: "+why
	case exits == len(c.ExitSites):
		c.Chosen, c.Why = false, "no exit can be attached: "+why
	default:
		// Warnings are shared with the caller: never append to them in place.
		c.Warnings = append(slices.Clip(c.Warnings), fmt.Sprintf("%s left alone, for the first: %s", human.Plural(uint64(enters+exits), "site"), why))
	}
}

// usedNop names the nop of a site that a probe is put on where the site has
// several, "" where it has not, and before Judge.
func (l *Listing) usedNop(site int) string {
	if l.Used == nil || l.Used[site] == l.Sites[site].Nop {
		return ""
	}
	return l.Used[site].String()
}

// refused says why a site is left alone, "" when it is not.
func (l *Listing) refused(site int) string {
	if l.Refused == nil {
		return ""
	}
	return l.Refused[site]
}
