// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"slices"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/probe"
	"github.com/phasetrace/phasetrace/internal/stream"
	"github.com/phasetrace/phasetrace/internal/usdt"
)

// watchedArgs returns the arguments that show whether phases of a chosen pair
// overlap on a thread instead of nesting: those that all its sites have, under one
// number or one name of an attribute. There are none for pairs with a key or a
// token, for those that cannot be open twice, and for those of the catalogue,
// which are known.
func watchedArgs(ch *usdt.Choice, sites []usdt.Site) (out []engine.WatchedArg) {
	p := &ch.Pair
	if p.Keyed() || p.TokenArg != usdt.NoArg || !p.Reentrant || p.Origin == usdt.OriginCatalogue {
		return nil
	}
	add := func(a engine.WatchedArg) {
		if len(out) < stream.MaxKeyValues && !slices.Contains(out, a) &&
			tells(sites, ch.EnterSites, a.Enter) && tells(sites, ch.ExitSites, a.Exit) {
			out = append(out, a)
		}
	}
	for _, at := range p.Attrs {
		for _, end := range p.ExitAttrs {
			if at.Probe == "" && at.Variable == "" && end.Variable == "" && at.Key == end.Key {
				add(engine.WatchedArg{Enter: at.Arg, Exit: end.Arg})
			}
		}
	}
	for i := range usdt.MaxArgs {
		add(engine.WatchedArg{Enter: i, Exit: i})
	}
	return out
}

// tells reports whether an argument of all these sites can be decoded, and is not
// the same constant everywhere.
func tells(sites []usdt.Site, which []int, arg int) bool {
	constant := true
	for _, i := range which {
		args := sites[i].Args
		if arg >= len(args) || args[arg].Err != nil {
			return false
		}
		first := &sites[which[0]].Args[arg]
		constant = constant && args[arg].Kind == probe.OperandConst && args[arg].Const == first.Const
	}
	return len(which) > 0 && !constant
}

// overlapNotes names the pairs without a key whose phases overlap, with the key
// that would tell them apart.
func overlapNotes(overlaps []engine.Overlap) []stream.Note {
	var out []stream.Note
	for _, o := range overlaps {
		var key usdt.PairSpec
		for _, a := range o.Key {
			key.Key = append(key.Key, usdt.KeyArg(a))
		}
		what := fmt.Sprintf("pair %s: exits had the arguments of another open phase than the innermost, so those durations are not known", o.Pair.ID)
		switch {
		case o.Certain:
			what = fmt.Sprintf("pair %s: its phases overlap on one thread, so those durations are not known: match them with key=%s", o.Pair.ID, key.KeyText())
		case len(o.Key) > 0:
			what += "; if its phases overlap, match them with key=" + key.KeyText()
		}
		// A library that is loaded again has its pairs again.
		if n := slices.IndexFunc(out, func(n stream.Note) bool { return n.What == what }); n >= 0 {
			out[n].Count += o.Count
			continue
		}
		out = append(out, stream.Note{What: what, Count: o.Count})
	}
	return out
}
