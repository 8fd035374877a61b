// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// workload is what pgbench runs while the server's CPU time is measured.
type workload struct {
	name string
	args []string
}

// workloads are pgbench's SELECT by key and its TPC-B, the default.
var workloads = []workload{{"-S", []string{"-S"}}, {"TPC-B", nil}}

// arm is a way to run the server: not traced, or traced by a command.
type arm struct {
	name    string
	command []string // without -p and what follows; nil: not traced
}

// cost measures what tracing costs the server: CPU time and transactions a second, of
// each arm, in rounds in which the arms take turns.
type cost struct {
	*server
	arms    []arm
	rounds  int
	seconds int
	out     io.Writer
}

// costOptions are the command line's choices for it.
type costOptions struct {
	rounds, seconds int
	before          string // other commands, with commas between them
	workloads       string
}

// leftOff are the pairs of statements that are off by default only for what they cost.
const leftOff = "plan,parse,rewrite,autovacuum"

// measureCost prints the table of hits and of costs.
func measureCost(o *options, out io.Writer) (err error) {
	s, err := startServer(o.root, "shared_preload_libraries=", "fsync=off", "autovacuum=off")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(), s.remove()) }()
	if _, err := s.output("pgbench", "-i", "-q", "-s", "4"); err != nil {
		return err
	}
	program, err := filepath.Abs(o.phasetrace)
	if err != nil {
		return err
	}
	c := &cost{server: s, rounds: o.cost.rounds, seconds: o.cost.seconds, out: out}
	c.arms = []arm{{"not traced", nil}, {"default choice", []string{program}}, {"with what is off", []string{program, "--also", leftOff}}}
	for command := range strings.SplitSeq(o.cost.before, ",") {
		if fields := strings.Fields(command); len(fields) > 0 {
			c.arms = append(c.arms, arm{command, fields})
		}
	}
	names := strings.Split(o.cost.workloads, ",")
	for _, w := range workloads {
		if !slices.Contains(names, w.name) {
			continue
		}
		for _, protocol := range strings.Split(o.protocols, ",") {
			if err := c.hits(w, protocol); err != nil {
				return err
			}
			if err := c.compare(w, protocol); err != nil {
				return err
			}
		}
	}
	return nil
}

// hits prints how often a transaction hits probes, and for which phases.
func (c *cost) hits(w workload, protocol string) error {
	const transactions = 2000
	for _, a := range c.arms {
		if a.command == nil {
			continue
		}
		name := filepath.Join(c.root+c.home, "hits.jsonl")
		stop, err := c.start(a, "--format", "jsonl", "-o", name)
		if err != nil {
			return err
		}
		_, err = c.output("pgbench", c.bench(w, protocol, "-t", strconv.Itoa(transactions))...)
		if err = errors.Join(err, stop()); err != nil {
			return err
		}
		end, err := lastLine(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s %s %s, %-17s %.1f hits a transaction%s\n", c.release, w.name, protocol, a.name+":",
			float64(end.Records.Received)/transactions, perPhase(end, transactions))
	}
	return nil
}

// perPhase says for what a transaction's hits are: the phases of each name, and what
// tells something about them.
func perPhase(end *sessionEnd, transactions int) string {
	count := make(map[string]uint64)
	var names []string
	others := end.Records.Received
	for _, p := range end.Phases {
		others -= 2 * p.Count
		name := p.Path[len(p.Path)-1]
		if count[name] == 0 {
			names = append(names, name)
		}
		count[name] += p.Count
	}
	var b strings.Builder
	tell := func(name string, hits uint64) {
		if n := float64(hits) / float64(transactions); n >= 0.05 {
			fmt.Fprintf(&b, ", %s %.1f", name, n)
		}
	}
	for _, name := range names {
		tell(name, 2*count[name])
	}
	tell("others", others)
	return b.String()
}

// bench is pgbench's command line; one client, so that the figures do not depend on how
// many cores there are.
func (c *cost) bench(w workload, protocol string, more ...string) []string {
	return slices.Concat([]string{"-n", "-M", protocol, "-c", "1"}, w.args, more)
}

// sample is what pgbench and the server's process for it took.
type sample struct {
	cpu float64 // of the server, µs a transaction
	tps float64
}

// compare prints the medians of the arms, and of their ratios to the first in each round.
func (c *cost) compare(w workload, protocol string) error {
	runs := make([][]sample, len(c.arms))
	for round := range c.rounds {
		for i := range c.arms {
			at := (i + round) % len(c.arms) // none is always the first
			r, err := c.once(c.arms[at], w, protocol)
			if err != nil {
				return err
			}
			runs[at] = append(runs[at], r)
		}
	}
	for i, a := range c.arms {
		var cpu, tps, cpuRatio, tpsRatio []float64
		for round, r := range runs[i] {
			cpu, tps = append(cpu, r.cpu), append(tps, r.tps)
			cpuRatio, tpsRatio = append(cpuRatio, r.cpu/runs[0][round].cpu), append(tpsRatio, r.tps/runs[0][round].tps)
		}
		least := slices.MinFunc(runs[0], bySmaller).cpu
		fmt.Fprintf(c.out, "%s %s %s, %-17s server %6.2f µs a transaction (%+.1f %%), at least %6.2f (%+.1f %%), %6.0f TPS (x %.2f)\n",
			c.release, w.name, protocol, a.name+":", median(cpu), 100*(median(cpuRatio)-1),
			slices.Min(cpu), 100*(slices.Min(cpu)/least-1), median(tps), median(tpsRatio))
	}
	return nil
}

func bySmaller(a, b sample) int { return cmp.Compare(a.cpu, b.cpu) }

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	n := len(of)
	if n == 0 {
		return 0
	}
	return (of[(n-1)/2] + of[n/2]) / 2
}

var processed = regexp.MustCompile(`transactions actually processed: (\d+)[\s\S]*tps = ([0-9.]+)`)

// once runs pgbench for some seconds.
func (c *cost) once(a arm, w workload, protocol string) (r sample, err error) {
	stop, err := c.start(a, "--format", "summary")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	cmd := c.command("pgbench", c.bench(w, protocol, "-T", strconv.Itoa(c.seconds))...)
	var out bytes.Buffer
	cmd.Stdout = &out
	used := make(chan time.Duration)
	ended := make(chan struct{})
	go func() { used <- c.backendTime(ended) }()
	err = cmd.Run()
	close(ended)
	cpu := <-used
	found := processed.FindStringSubmatch(out.String())
	if err != nil || found == nil || cpu == 0 {
		return r, fmt.Errorf("pgbench: %w: %s, server's process %v", err, &out, cpu)
	}
	n, _ := strconv.ParseFloat(found[1], 64)
	r.tps, _ = strconv.ParseFloat(found[2], 64)
	r.cpu = float64(cpu) / float64(time.Microsecond) / n
	return r, nil
}

// backendTime returns the CPU time of the processes that the server starts until ended is
// closed. It reads the scheduler's own count, in ns, until a process is gone: what the
// last few milliseconds of it took is not in it.
func (c *cost) backendTime(ended <-chan struct{}) time.Duration {
	pid, err := c.pid()
	if err != nil {
		return 0
	}
	before, _ := children(pid)
	of := make(map[string]time.Duration)
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		now, _ := children(pid)
		for _, child := range now {
			if t, ok := onCPU(child); ok && !slices.Contains(before, child) {
				of[child] = max(of[child], t)
			}
		}
		select {
		case <-ended:
			tick.Stop()
			var sum time.Duration
			for _, t := range of {
				sum += t
			}
			return sum
		case <-tick.C:
		}
	}
}

func children(pid string) ([]string, error) {
	b, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	return strings.Fields(string(b)), err
}

func onCPU(pid string) (time.Duration, bool) {
	b, err := os.ReadFile("/proc/" + pid + "/schedstat")
	first, _, _ := strings.Cut(string(b), " ")
	ns, parsed := strconv.ParseInt(first, 10, 64)
	return time.Duration(ns), err == nil && parsed == nil
}

// start starts to trace the server as an arm does. stop ends that.
func (c *cost) start(a arm, more ...string) (stop func() error, err error) {
	if a.command == nil {
		return func() error { return nil }, nil
	}
	pid, err := c.pid()
	if err != nil {
		return nil, err
	}
	said, err := os.Create(filepath.Join(c.root+c.home, "said"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(a.command[0], slices.Concat(a.command[1:], []string{"-p", pid, "-f"}, more)...)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, said.Close())
	}
	stop = func() error {
		err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait(), said.Close())
		if err != nil {
			complaint, _ := os.ReadFile(said.Name())
			err = fmt.Errorf("%s: %w\n%s", a.name, err, complaint)
		}
		return err
	}
	err = within(30*time.Second, "phasetrace to attach", func() bool {
		text, err := os.ReadFile(said.Name())
		return err == nil && bytes.Contains(text, []byte("attached to"))
	})
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}
