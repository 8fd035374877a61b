// SPDX-License-Identifier: Apache-2.0

package summary

import (
	"github.com/phasetrace/phasetrace/internal/output/phrase"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// parts says which pairs were not traced all the time.
func (p *printer) parts() {
	all := p.s.Parts
	if len(all) == 0 {
		return
	}
	p.heading(false, "not traced all the time, to keep what tracing costs within %s of the program's own CPU time", percentage(all[0].Budget))
	for i := range all[:min(len(all), p.o.MaxItems)] {
		one := &all[i]
		p.printf("  %s: counts and totals are of %s of the time%s\n", text(phrase.Pair(one.Name, one.Provider, one.Enter)), percentage(1-one.LeftOut), ending(one))
	}
	p.more(len(all)-p.o.MaxItems, "")
}

// ending says how it was with a pair at the end.
func ending(p *stream.PairPart) string {
	switch {
	case p.ForGood:
		return "; it had to go too often to come back"
	case p.Part == 0:
		return "; left out at the end"
	case p.Part < 1:
		return "; traced for " + percentage(p.Part) + " of each second at the end"
	}
	return "; traced all the time at the end"
}
