// SPDX-License-Identifier: Apache-2.0

// Command bench measures what tracing costs the traced program, next to the floor
// (an empty BPF program on the same sites) and to other tracers where they are
// installed. It drives the fixture program "spin"; every figure of one table
// comes from the same process, in interleaved rounds, so that ratios hold where
// absolute times do not.
//
// It needs root. docs/performance.md explains the tables.
//
// "bench instructions" counts instructions on an emulated machine instead, and
// compares them with bench/instructions.txt; it needs qemu and no root.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

// options are the flags.
type options struct {
	short    bool
	rounds   int
	phases   int
	only     string
	match    string
	binary   string
	peerRoot string
}

// part is one table.
type part struct {
	name string
	run  func(context.Context, *bench) error
}

var tables = []part{
	{"cost", costTable},
	{"parts", partsTable},
	{"exits", exitsTable},
	{"start", startTable},
	{"scale", scaleTable},
	{"sustained", sustainedTable},
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	switch {
	case len(args) > 0 && args[0] == "instructions":
		return emulated(args[1:], stdout, stderr)
	case len(args) == 2 && args[0] == "count": // in the guest of the one above
		return count(args[1], stdout)
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.short, "short", false, "only check that everything runs: the figures mean nothing")
	flags.IntVar(&o.rounds, "rounds", 9, "interleaved rounds; medians are printed")
	flags.IntVar(&o.phases, "phases", 20_000, "phases a run")
	flags.StringVar(&o.only, "only", "", "comma-separated tables: cost, parts, exits, start, scale, sustained")
	flags.StringVar(&o.match, "match", "", "of the tables of one boundary: only the floor and the lines that contain one of these words, comma-separated")
	flags.StringVar(&o.peerRoot, "peers", "", "folder with other tracers (bpftrace, perf) to measure against, such as a debootstrap of Debian sid; default: what is installed")
	flags.StringVar(&o.binary, "binary", "", "phasetrace to measure as a whole; default: built from this tree")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.short {
		o.rounds, o.phases = 1, 500
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := newBench(o, stdout, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Fprintln(stdout, machine())
	for _, p := range tables {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+p.name+",") {
			continue
		}
		b.progress("measuring %s…", p.name)
		err := p.run(ctx, b)
		b.progress("")
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}
