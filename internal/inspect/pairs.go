// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	"github.com/phasetrace/phasetrace/internal/output/human"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// writePairs writes the pairs, those that a trace would take first, and the probes
// that are in none.
func writePairs(b *bufio.Writer, l *Listing, paint human.Palette) {
	if len(l.Choices) > 0 {
		order := make([]int, len(l.Choices))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(x, y int) int {
			switch a, b := l.Choices[x].Chosen, l.Choices[y].Chosen; {
			case a == b:
				return 0
			case a:
				return -1
			}
			return 1
		})
		fmt.Fprintf(b, "%s, %d traced\n", paint.Paint(human.Bold, human.Plural(uint64(len(order)), "pair")), l.Chosen())
		writeTable(b, pairTable(l, order), len(order), paint, func(r int, indent string) string {
			return l.notes(&l.Choices[order[r]], indent)
		})
	} else if len(l.Sites) > 0 {
		b.WriteString("No pairs: no two probe names match a naming rule.\n")
	}
	l.writeAlone(b, paint)
}

// writeAlone writes the probes that are in no pair, and what they might pair with.
func (l *Listing) writeAlone(b *bufio.Writer, paint human.Palette) {
	alone := usdt.AloneOf(l.Sites, l.Choices)
	if len(alone) == 0 {
		return
	}
	if len(l.Choices) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(paint.Paint(human.Bold, human.Plural(uint64(len(alone)), "probe")))
	b.WriteString(" in no pair")
	if l.Advice.Join != "" {
		fmt.Fprintf(b, ": to trace two of them, %s", l.Advice.Join)
	}
	b.WriteString("\n")
	writeTable(b, &human.Table{
		Head:  []string{"PROBE", "MIGHT PAIR, BY ITS NAME"},
		Whole: []int{0},
		Cell: func(r, c int) string {
			a := &alone[r]
			if c == 0 {
				return probeCell(a.Provider+":"+a.Name, a.Sites)
			}
			return human.Fit(l.mightCell(a), maxText)
		},
	}, len(alone), paint, nil)
}

// mightCell is how to ask for what a probe might pair with.
func (l *Listing) mightCell(a *usdt.Alone) string {
	if len(a.Might) == 0 {
		return "-"
	}
	asks := slices.Clone(a.Might)
	if l.Advice.Ask != nil {
		for i := range asks {
			asks[i] = l.Advice.Ask(asks[i])
		}
	}
	return strings.Join(asks, " or ")
}

func pairTable(l *Listing, order []int) *human.Table {
	return &human.Table{
		Head:  []string{"TRACED", "PHASE", "ENTER", "EXIT", "LANE", "WHY"},
		Whole: []int{2, 3},
		Cell: func(r, c int) string {
			ch := &l.Choices[order[r]]
			p := &ch.Pair
			switch c {
			case 0:
				return yes(ch.Chosen)
			case 1:
				return human.Fit(phase(p), maxColumn)
			case 2:
				return probeCell(p.Provider+":"+p.Enter, len(ch.EnterSites))
			case 3:
				return probeCell(strings.Join(p.Exits, ","), len(ch.ExitSites))
			case 4:
				return laneCell(p)
			}
			return human.Fit(l.why(ch), maxText)
		},
		Tint: func(r, c int) human.Colour {
			if c == 0 && l.Choices[order[r]].Chosen {
				return human.Green
			}
			return ""
		},
	}
}

// probeCell is a probe, and its number of sites unless that is one.
func probeCell(name string, sites int) string {
	name = human.Fit(name, maxCopied)
	if sites == 1 {
		return name
	}
	return fmt.Sprintf("%s (%d sites)", name, sites)
}

func laneCell(p *usdt.PairSpec) string {
	switch {
	case p.Keyed():
		return "by " + human.Fit(p.KeyText(), maxColumn)
	case p.Lane == "":
		return "-"
	}
	return human.Fit(p.Lane, maxColumn)
}

// notes are what a pair needs and lacks, shown below its line.
func (l *Listing) notes(c *usdt.Choice, indent string) string {
	var b strings.Builder
	if c.Pair.Requires != "" {
		fmt.Fprintf(&b, "%sneeds: %s\n", indent, human.Fit(c.Pair.Requires, maxText))
	}
	const shown = 4
	for i, w := range c.Warnings {
		if i == shown {
			fmt.Fprintf(&b, "%swarning: %s\n", indent, l.rest(len(c.Warnings)-shown))
			break
		}
		fmt.Fprintf(&b, "%swarning: %s\n", indent, human.Fit(w, maxText))
	}
	return b.String()
}
