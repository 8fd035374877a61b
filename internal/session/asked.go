// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"

	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// asked remembers which of the pairs that were asked for have fitted some file, and
// whether any pair at all has.
type asked struct {
	chosen bool
	fitted map[string]bool
	why    map[string]string // of the others, by what the last files lacked
}

// look notes what files make of a pair.
func (a *asked) look(ch *usdt.Choice) {
	id := ch.Asked
	a.chosen = a.chosen || ch.Chosen
	if id == "" {
		return
	}
	if a.fitted == nil {
		a.fitted, a.why = make(map[string]bool), make(map[string]string)
	}
	switch {
	case ch.Chosen:
		a.fitted[id] = true
	case a.why[id] == "" || len(ch.EnterSites)+len(ch.ExitSites) > 0: // files that have a part of it tell more
		a.why[id] = ch.Why
	}
}

// unknown returns an error about a name that nobody has given to a pair: none of the
// catalogue, and none in the files so far. Files that come later may have it, if they
// can have any.
func (a *asked) unknown(pairs []usdt.PairSpec, sites []usdt.Site, others bool) error {
	for _, p := range pairs {
		id := p.String()
		if !p.Named || a.fitted[id] || usdt.InCatalogue(p.Name) {
			continue
		}
		if !others || len(usdt.NearNames(p.Name, sites)) > 0 {
			return &UnknownNameError{Name: p.Name, Why: a.why[id]}
		}
	}
	return nil
}

// notes names the pairs that were asked for and never traced.
func (a *asked) notes(pairs []usdt.PairSpec) []stream.Note {
	var out []stream.Note
	if len(pairs) == 0 && !a.chosen {
		out = append(out, stream.Note{What: "nothing was attached: no process had markers that are traced by default"})
	}
	for _, p := range pairs {
		if id := p.String(); !a.fitted[id] && a.why[id] != "" {
			out = append(out, stream.Note{What: fmt.Sprintf("pair %s was asked for and not traced: %s", id, a.why[id])})
		}
	}
	return out
}
