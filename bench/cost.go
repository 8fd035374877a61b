// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/phasetrace/phasetrace/internal/probe"
)

// variant is one way to trace a program: begin attaches and returns what
// detaches.
type variant struct {
	name  string
	begin func(*program) (end func() error, err error)
	bare  bool // runs the program without markers
}

func nothing() error { return nil }

func untraced(*program) (func() error, error) { return nothing, nil }

func fullRecord(p *program) (func() error, error) {
	t, err := trace(p, nil)
	if err != nil {
		return nil, err
	}
	return t.stop, nil
}

func empty(p *program) (func() error, error) { return attachPart(p, "part_empty") }

// reduced traces with fewer captures.
func reduced(keep func(i int) bool) func(*program) (func() error, error) {
	return func(p *program) (func() error, error) {
		t, err := trace(p, func(sites []probe.Site) []probe.Site {
			for i := range sites {
				var kept []probe.Capture
				for j, c := range sites[i].Captures {
					if keep(j) {
						kept = append(kept, c)
					}
				}
				sites[i].Captures = kept
			}
			return sites
		})
		if err != nil {
			return nil, err
		}
		return t.stop, nil
	}
}

// costTable is the cost of one boundary, next to the floor and the peers.
func costTable(ctx context.Context, b *bench) error {
	variants := []variant{
		{name: "no markers compiled in", begin: untraced, bare: true},
		{name: "markers, nobody traces", begin: untraced},
		{name: "floor: empty program", begin: empty},
		{name: "phasetrace: full record", begin: fullRecord},
		{name: "phasetrace: counted in the kernel (--aggregate)", begin: counted},
		{name: "phasetrace: token only", begin: reduced(func(i int) bool { return i == 0 })},
	}
	if b.binary != "" {
		variants = append(variants, variant{name: "phasetrace command, summary", begin: b.command})
	}
	variants = append(variants, b.peers()...)
	for _, mode := range []string{"inline", "call"} {
		r, err := b.measure(ctx, variants, mode)
		if err != nil {
			return err
		}
		b.print("cost of one boundary, markers "+map[string]string{
			"inline": "inlined in a loop", "call": "in a small function of its own",
		}[mode], r)
	}
	return nil
}

// partNames are the programs of bench/parts, one part more from line to line.
var partNames = []struct{ program, what string }{
	{"part_empty", "floor: empty program"},
	{"part_state", "+ the thread's state, a sequence number"},
	{"part_clock", "+ the clock"},
	{"part_cookie", "+ the site's cookie"},
	{"part_counters", "+ four counters of the thread"},
	{"part_own", "+ a record of 96 bytes in the CPU's own ring"},
	{"part_record", "the same in a BPF ring buffer"},
	{"part_string", "counters + the name (no record)"},
	{"part_own_string", "counters + the name + a record in the CPU's own ring"},
	{"part_output", "the same in a BPF ring buffer"},
	{"part_reserve", "the same by reserve and submit"},
	{"part_wakeup", "record, waking the reader as by default"},
}

// partsTable takes one boundary apart.
func partsTable(ctx context.Context, b *bench) error {
	r, err := b.measure(ctx, partVariants(), "inline")
	if err != nil {
		return err
	}
	b.print("parts of one boundary, markers inlined in a loop", r)
	return nil
}

func partVariants() []variant {
	var out []variant
	for _, n := range partNames {
		out = append(out, variant{name: n.what, begin: func(p *program) (func() error, error) {
			return attachPart(p, n.program)
		}})
	}
	return append(out,
		variant{name: "phasetrace: nothing captured", begin: reduced(func(int) bool { return false })},
		variant{name: "phasetrace: token", begin: reduced(func(i int) bool { return i == 0 })},
		variant{name: "phasetrace: token and rank", begin: reduced(func(i int) bool { return i <= 1 })},
		variant{name: "phasetrace: token, rank, name", begin: reduced(func(i int) bool { return i <= 2 })},
		variant{name: "phasetrace: full record", begin: fullRecord},
	)
}

// results holds ns a boundary by variant and round.
type results struct {
	variants []variant
	ns       [][]float64
}

// matching returns the floor and what -match asks for.
func (b *bench) matching(all []variant) []variant {
	var out []variant
	for _, v := range all {
		wanted := slices.ContainsFunc(strings.Split(b.match, ","), func(word string) bool { return strings.Contains(v.name, word) })
		if wanted || v.name == floorName {
			out = append(out, v)
		}
	}
	return out
}

// measure runs every variant once a round, in turn, on the same process.
func (b *bench) measure(ctx context.Context, variants []variant, mode string) (*results, error) {
	variants = b.matching(variants)
	args := []string{"1", strconv.Itoa(b.phases), mode}
	with, err := b.start("spin", args...)
	if err != nil {
		return nil, err
	}
	bare, err := b.start("spin-none", args...)
	if err != nil {
		return nil, errors.Join(err, with.stop())
	}
	r := &results{variants: variants, ns: make([][]float64, len(variants))}
	for round := 0; round < b.rounds && err == nil; round++ {
		for i, v := range variants {
			b.progress("%s, round %d of %d: %s", mode, round+1, b.rounds, v.name)
			p := with
			if v.bare {
				p = bare
			}
			var ns float64
			if ns, err = once(p, v); err != nil {
				err = fmt.Errorf("%s: %w", v.name, err)
				break
			}
			r.ns[i] = append(r.ns[i], ns)
			if err = ctx.Err(); err != nil {
				break
			}
		}
	}
	b.progress("")
	return r, errors.Join(err, with.stop(), bare.stop())
}

// runs is how many short runs make one figure. The fastest counts: other work on
// the machine only ever makes a run slower.
const runs = 5

// once measures one variant in ns a boundary.
func once(p *program, v variant) (float64, error) {
	end, err := v.begin(p)
	if err != nil {
		return 0, err
	}
	best := math.Inf(1)
	for range runs {
		_, ns, spinErr := p.spin()
		best, err = min(best, ns), errors.Join(err, spinErr)
	}
	return best, errors.Join(err, end())
}
