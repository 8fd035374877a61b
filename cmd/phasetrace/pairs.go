// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/phasetrace/phasetrace/internal/usdt"
)

// pairOptions are the flags that say which pairs to trace, as given.
type pairOptions struct {
	also, only, specs []string
}

func (o *pairOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.also, "also", nil, "trace the pairs called `NAME`, as list shows it, in addition to the default choice; several with commas between them; repeatable")
	f.StringArrayVar(&o.only, "only", nil, "trace the pairs called `NAME` instead of the default choice; several with commas between them; repeatable")
	f.StringArrayVar(&o.specs, "pair", nil, "trace the markers of `SPEC` instead of the default choice, with + in front in addition to it: [+]PROVIDER:ENTER/EXIT[,…][;OPTION…], each OPTION one of name=NAME, name=argN:str, [outer.]attr.KEY=[PROBE.]argN[:TYPE], exit.attr.KEY=argN[:TYPE], lane=NAME, key=argN[+argM][/argN[+argM]], reentrant=false, reset=PROBE[,PROBE…], stale=failed; repeatable")
}

// parse returns the pairs that were asked for; none: the default choice.
func (o *pairOptions) parse() ([]usdt.PairSpec, error) {
	var out []usdt.PairSpec
	for _, text := range o.specs {
		p, err := usdt.ParsePair(text)
		if err != nil {
			return nil, usageError("--pair: %w", err)
		}
		out = append(out, p)
	}
	for _, f := range []struct {
		flag  string
		lists []string
		added bool
	}{{"only", o.only, false}, {"also", o.also, true}} {
		for _, list := range f.lists {
			for name := range strings.SplitSeq(list, ",") {
				p, err := usdt.Named(name, f.added)
				if err != nil {
					return nil, usageError("--%s %q: %w, as \"phasetrace list\" shows it", f.flag, list, err)
				}
				out = append(out, p)
			}
		}
	}
	return out, nil
}
