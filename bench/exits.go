// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
)

// pairOfMarkers are our own markers as a pair of another program. Its phases cannot
// be open twice, so no argument is watched for phases that overlap.
const pairOfMarkers = "phasetrace:enter/exit;name=spin;reentrant=false"

// exitsTable is what values at the exit cost, and keys, and arguments that are
// watched, each next to the same pair without.
func exitsTable(ctx context.Context, b *bench) error {
	if b.binary == "" {
		return nil
	}
	const (
		plain   = "a pair, nothing captured"
		counted = "the same pair, --aggregate"
	)
	of := func(name, pair string, flags ...string) variant {
		args := append([]string{"--format", "summary", "--pair", pair}, flags...)
		return variant{name: name, begin: func(p *program) (func() error, error) {
			r, err := b.startCommand(p, args...)
			if err != nil {
				return nil, err
			}
			return r.stop, nil
		}}
	}
	integers := pairOfMarkers + ";exit.attr.token=arg0;exit.attr.at=arg1:hex"
	r, err := b.measure(ctx, []variant{
		{name: floorName, begin: empty},
		of(plain, pairOfMarkers),
		of("+ two integers at the exit", integers),
		of("+ a string at the exit", pairOfMarkers+";exit.attr.name=arg1:str"),
		of("+ two watched arguments at both ends", "phasetrace:enter/exit;name=spin"),
		of("+ a key of one argument", pairOfMarkers+";key=arg0"),
		of("+ a key of two", pairOfMarkers+";key=arg0+arg1"),
		of(counted, pairOfMarkers, "--aggregate"),
		of("+ two integers at the exit, --aggregate, which keeps none", integers, "--aggregate"),
	}, "inline")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\nvalues at the exit, a boundary (median of %d interleaved rounds, each the fastest of %d runs of %d boundaries)\n",
		len(r.ns[0]), runs, 2*b.phases)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "ns\tmiddle half\tto floor\tto the pair without\t\t")
	without := r.of(plain)
	for i, v := range r.variants {
		if v.name == counted {
			without = r.ns[i]
		}
		s := slices.Sorted(slices.Values(r.ns[i]))
		fmt.Fprintf(w, "%.1f\t%.0f–%.0f\t%.2f\t%.3f\t  %s\n", median(s), s[len(s)/4], s[len(s)*3/4],
			paired(r.ns[i], r.of(floorName)), paired(r.ns[i], without), v.name)
	}
	return w.Flush()
}
