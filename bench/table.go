// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
)

// floorName is the variant to which ratios are taken.
const floorName = "floor: empty program"

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// paired is the median of a's ratios to b, round by round.
func paired(a, b []float64) float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		ratios = append(ratios, a[i]/b[i])
	}
	return median(ratios)
}

func (r *results) of(name string) []float64 {
	for i, v := range r.variants {
		if v.name == name {
			return r.ns[i]
		}
	}
	return nil
}

// print shows a table: time, the spread of the middle half of the rounds, the
// ratio to the floor, and ours to each.
func (b *bench) print(title string, r *results) {
	fmt.Fprintf(b.out, "\n%s (median of %d interleaved rounds, each the fastest of %d runs of %d boundaries)\n", title, len(r.ns[0]), runs, 2*b.phases)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "ns\tmiddle half\tto floor\tover floor\tfull record to it\t\t")
	floor, full := r.of(floorName), r.of("phasetrace: full record")
	for i, v := range r.variants {
		ns := r.ns[i]
		s := slices.Sorted(slices.Values(ns))
		fmt.Fprintf(w, "%.1f\t%.0f–%.0f\t%.2f\t%+.0f\t%.2f\t  %s\n", median(ns), s[len(s)/4], s[len(s)*3/4],
			paired(ns, floor), median(ns)-median(floor), paired(full, ns), v.name)
	}
	w.Flush()
}
