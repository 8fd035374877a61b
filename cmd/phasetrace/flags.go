// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/figures"
	"github.com/phasetrace/phasetrace/internal/filter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/session"
)

// traceOptions are the flags of trace, run and demo, as given.
type traceOptions struct {
	pids        []string
	executables []string
	follow      bool
	noWait      bool
	pairs       pairOptions
	libraries   []string
	duration    time.Duration
	outputs     []string
	format      string
	sessionID   string
	rank        int
	flags       *pflag.FlagSet
	gpu         string
	nvmlLibrary string
	gpuInterval time.Duration
	onViolation string
	strict      bool
	readyFile   string
	ringSize    string
	aggregate   bool
	maxOverhead string
	by          string
	where       []string
	minDuration time.Duration
	filter      filter.Filter // of the two, parsed
	unsafeNops  bool
	noArguments bool
	unhit       bool
	command     []string
	shared      bool     // the command writes to where JSON lines are written
	targets     []int    // pids, parsed
	ran         []string // what these run, as far as that is known
}

func newTraceOptions() *traceOptions { return &traceOptions{} }

// Which flags a command has.
const (
	traceFlags = iota
	runFlags
)

func (o *traceOptions) register(cmd *cobra.Command, which int) {
	f := cmd.Flags()
	o.flags = f
	if which == traceFlags {
		f.StringArrayVarP(&o.pids, "pid", "p", nil, "trace process `PID`; several with commas between them; repeatable")
	}
	if which == traceFlags {
		f.StringArrayVar(&o.executables, "exe", nil, "trace every process that runs the program `FILE`, with its children, also those that start later; repeatable")
		f.BoolVar(&o.noWait, "no-wait", false, "end at once if a process has no markers yet, instead of waiting for libraries that it loads")
	}
	f.BoolVarP(&o.follow, "follow", "f", false, "trace children too, from their first instruction")
	o.pairs.register(f)
	f.BoolVar(&o.noArguments, "no-arguments", false, "do not show the integer arguments of markers that were paired by their names")
	f.StringArrayVar(&o.libraries, "library", nil, "`FILE` with markers that the program has not loaded yet; repeatable")
	f.DurationVarP(&o.duration, "duration", "d", 0, "stop after `TIME`, such as 10s")
	f.StringArrayVarP(&o.outputs, "output", "o", nil, "`FILE` to write to, or - for standard output, which is the default; repeatable")
	f.StringVar(&o.format, "format", "", "`FORMAT` of the output: text, jsonl or summary (default: jsonl for files ending in .jsonl, .ndjson or .json, else text); with several outputs, for standard output only")
	f.StringVar(&o.sessionID, "session-id", "", "`NAME` of the session in scope ids (default: a new one)")
	f.IntVar(&o.rank, "rank", 0, "`RANK` of the processes (default: from the marker, else from RANK, OMPI_COMM_WORLD_RANK, PMI_RANK or SLURM_PROCID, else 0)")
	f.StringVar(&o.gpu, "gpu", "auto", "read the memory of NVIDIA GPUs; `MODE` is auto, off or require")
	f.StringVar(&o.nvmlLibrary, "nvml-library", "", "`FILE` to load as libnvidia-ml.so.1 (default: the usual places)")
	f.DurationVar(&o.gpuInterval, "gpu-interval", 0, "`TIME` between reads of GPU memory while no phase boundary happens (default 100ms)")
	f.StringVar(&o.onViolation, "on-violation", "unwind", "`POLICY` when nesting is violated: unwind the stack, or reject the exit")
	f.BoolVar(&o.aggregate, "aggregate", false, "count phases in the kernel, for phases too frequent to record, and show only the summary")
	f.StringVar(&o.maxOverhead, "max-overhead", "", "keep what tracing costs any traced program below `PERCENT` of the CPU time that it uses itself, such as 2%: leave pairs out, those that cost most for least first, and trace the last one for a part of the time")
	f.StringVar(&o.by, "by", "", "also add the figures up by `WHAT`: rank, process, title for what processes say that they are, thread, sql for statements without their literals, or attr.KEY for the values of an attribute")
	f.StringArrayVar(&o.where, "where", nil, "write only the boundaries that meet `EXPR`, such as 'process~autovacuum && duration>10ms'; the figures stay those of all. Fields: process, thread, phase, path, rank, pid, tid, duration, attr.KEY; operators: = != ~ (contains) !~ < <= > >=; repeatable, all must hold")
	f.DurationVar(&o.minDuration, "min-duration", 0, "write only the exits of phases that took `TIME` or longer, as --where 'duration>=TIME' does")
	f.BoolVar(&o.unhit, "unhit", false, "list in the summary the sites that were attached and never hit")
	f.BoolVar(&o.strict, "strict", false, "exit with 3 when nesting was violated, with 4 when records were lost or not written")
	f.StringVar(&o.readyFile, "ready-file", "", "`FILE` to create once every probe is attached; it must not exist, unless it is empty or left from an earlier trace")
	f.StringVar(&o.ringSize, "ring-size", "", fmt.Sprintf("`SIZE` of all CPUs' ring buffers together, such as 64M (default %dM, more on machines with many CPUs)", loader.DefaultRingBytes>>20))
	f.BoolVar(&o.unsafeNops, "unsafe-nops", false, "also attach to markers on five-byte nops where this kernel rewrites them unsafely: the program may crash")
	f.SortFlags = false
	completeWords(cmd, map[string][]cobra.Completion{
		"format": formats, "gpu": gpuModes, "on-violation": policies, "by": {"rank", "process", "title", "thread", "sql", "attr."},
	})
}

// What flags take that take one of a few words.
var (
	formats  = []string{"text", "jsonl", "summary"}
	gpuModes = []string{"auto", "off", "require"}
	policies = []string{"unwind", "reject"}
)

// parse checks the flags and turns them into options of a session.
func (o *traceOptions) parse() (session.Config, error) {
	out := session.Config{
		Follow: o.follow, Await: !o.noWait, UnsafeNops: o.unsafeNops, NoArguments: o.noArguments, Libraries: o.libraries, Duration: o.duration,
		SessionID: o.sessionID, Version: version(), Count: o.aggregate, Rank: int32(o.rank),
	}
	if o.flags.Changed("rank") {
		out.RankSource = "--rank"
	}
	if err := checkLibrary(o.nvmlLibrary); err != nil {
		return out, err
	}
	if o.rank < 0 || o.rank > math.MaxInt32 {
		return out, usageError("--rank %d: want a number from 0 to %d", o.rank, math.MaxInt32)
	}
	if o.duration <= 0 && o.flags.Changed("duration") {
		return out, usageError("--duration %v: want a time above 0", o.duration)
	}
	if o.gpuInterval <= 0 && o.flags.Changed("gpu-interval") {
		return out, usageError("--gpu-interval %v: want a time above 0", o.gpuInterval)
	}
	if out.SessionID == "" {
		out.SessionID = freshID()
	}
	for _, check := range []func(*session.Config) error{o.parsePIDs, o.parsePairs, o.parseWords, o.parseBudget, o.parseBy, o.parseWhere, o.parseOutput, o.parseRing} {
		if err := check(&out); err != nil {
			return out, err
		}
	}
	var err error
	if out.Without, err = loader.ParseWithout(os.Getenv(loader.WithoutEnv)); err != nil {
		return out, usageError("%s: %w", loader.WithoutEnv, err)
	}
	return out, nil
}

func (o *traceOptions) parsePIDs(out *session.Config) error {
	for _, word := range o.pids {
		for part := range strings.SplitSeq(word, ",") {
			pid, err := strconv.Atoi(part)
			if err != nil || pid <= 0 {
				return usageError("--pid %q: want the number of a process", word)
			}
			if !slices.Contains(o.targets, pid) {
				o.targets = append(o.targets, pid)
			}
		}
	}
	if err := o.parseExecutables(out); err != nil {
		return err
	}
	if len(o.targets) == 0 && len(o.command) == 0 && len(o.executables) == 0 {
		return usageError("nothing to trace: give a process with -p PID, a program with --exe FILE, or a command with \"phasetrace run -- CMD\"")
	}
	return nil
}

func (o *traceOptions) parsePairs(out *session.Config) (err error) {
	out.Pairs, err = o.pairs.parse()
	return err
}

// parseWords checks the flags that take one of a few words.
func (o *traceOptions) parseWords(out *session.Config) error {
	for _, w := range []struct {
		flag, value string
		allowed     []string
	}{
		{"format", o.format, formats},
		{"gpu", o.gpu, gpuModes},
		{"on-violation", o.onViolation, policies},
	} {
		if !slices.Contains(w.allowed, w.value) && o.flags.Changed(w.flag) {
			last := len(w.allowed) - 1
			return usageError("--%s %q: want %s or %s", w.flag, w.value, strings.Join(w.allowed[:last], ", "), w.allowed[last])
		}
	}
	if o.onViolation == "reject" {
		out.Policy = engine.PolicyReject
	}
	return nil
}

// parseBudget checks what tracing may cost.
func (o *traceOptions) parseBudget(out *session.Config) error {
	if o.maxOverhead == "" {
		return nil
	}
	percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(o.maxOverhead, "%")), 64)
	if err != nil || !(percent >= leastOverhead && percent <= 100) {
		return usageError("--max-overhead %q: want a percentage from %v%% to 100%%, such as 2%%", o.maxOverhead, leastOverhead)
	}
	if o.aggregate {
		return usageError("--max-overhead with --aggregate: what is counted in the kernel cannot be left out for a while: leave one of them out")
	}
	out.MaxOverhead = percent / 100
	return nil
}

// leastOverhead is the least budget in percent: below it the estimate of a hit's cost
// says nothing.
const leastOverhead = 0.1

// parseBy checks what figures are grouped by.
func (o *traceOptions) parseBy(out *session.Config) error {
	if o.by == "" {
		return nil
	}
	by, err := figures.By(o.by)
	if err != nil {
		return usageError("--by %w", err)
	}
	if o.aggregate && !by.OfProcess {
		return usageError("--by %s with --aggregate: the kernel adds up by process and phase, and keeps neither threads nor attributes: use --by rank, process or title, or leave --aggregate out", o.by)
	}
	out.By = by
	return nil
}

// parseWhere checks which boundaries are written.
func (o *traceOptions) parseWhere(*session.Config) error {
	for _, text := range o.where {
		f, err := filter.Parse(text)
		if err != nil {
			return usageError("--where %w", err)
		}
		o.filter.And(f)
	}
	switch {
	case o.minDuration < 0:
		return usageError("--min-duration %v: want a time above 0", o.minDuration)
	case o.minDuration > 0:
		o.filter.AtLeast(o.minDuration)
	}
	if o.aggregate && !o.filter.Empty() {
		return usageError("--where and --min-duration say which boundaries are written, and with --aggregate none is: leave one of them out, or use --by to tell phases apart")
	}
	return nil
}

func (o *traceOptions) parseRing(out *session.Config) error {
	if o.ringSize == "" {
		return nil
	}
	text, unit := o.ringSize, 1
	for suffix, n := range map[string]int{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = rest, n
			break
		}
	}
	n, err := strconv.Atoi(text)
	size := n * unit
	if err != nil || n <= 0 || size < os.Getpagesize() || size > 1<<30 || size&(size-1) != 0 {
		return usageError("--ring-size %q: want a power of two from %dK to 1G, such as 64M", o.ringSize, os.Getpagesize()>>10)
	}
	out.RingBytes = size
	return nil
}

// freshID returns a session id that no other session has.
func freshID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
