// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	// commitDelay is how long the server waits before it writes the log, in µs, with
	// the lock WALWrite held: a disk that is slow to flush.
	commitDelay = 10_000
	commitTime  = "3" // s
	clients     = 8
	sampling    = 10 * time.Millisecond
)

// askCommits makes eight clients commit to a slow log, and looks at the same time in
// pg_stat_activity what they wait for.
func askCommits(b *bench, protocol string, commands []string) (*answer, error) {
	if err := b.setting("commit_delay", strconv.Itoa(commitDelay)); err != nil {
		return nil, err
	}
	if err := b.setting("commit_siblings", "1"); err != nil {
		return nil, err
	}
	var waited float64 // s, of all clients
	_, err := b.trace(commands[0]+" -o - -o commits.jsonl", func() error {
		done := make(chan error, 1)
		go func() {
			done <- b.pgbench(protocol, "insert into history values (1, current_timestamp);\n", "-c"+strconv.Itoa(clients), "-T"+commitTime)
		}()
		var err error
		waited, err = b.sampleWaits("WALWrite", 3500*time.Millisecond)
		if failed := <-done; failed != nil {
			return failed
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := b.setting("commit_delay", "0"); err != nil {
		return nil, err
	}
	phases, err := b.summary("commits.jsonl")
	if err != nil {
		return nil, err
	}
	var transactions, waits phase
	for _, p := range phases {
		switch p.Path[len(p.Path)-1] {
		case "transaction":
			transactions = p
		case "wait for light lock":
			waits = join(waits, p)
		}
	}
	return judgeCommits(transactions, waits, waited), nil
}

// join adds up the groups of two phases.
func join(a, b phase) phase {
next:
	for _, g := range b.Groups {
		for i := range a.Groups {
			if a.Groups[i].Group == g.Group {
				a.Groups[i].Count += g.Count
				a.Groups[i].Total += g.Total
				a.Groups[i].P99 = max(a.Groups[i].P99, g.P99)
				continue next
			}
		}
		a.Groups = append(a.Groups, g)
	}
	return a
}

func judgeCommits(transactions, waits phase, waited float64) *answer {
	a := &answer{}
	var most, all group
	for _, g := range waits.Groups {
		if all.Total += g.Total; g.Total > most.Total {
			most = g
		}
	}
	traced := float64(most.Total) / 1e9
	a.text = fmt.Sprintf("transaction p99 %.1f ms; %s is %.1f %% of the waits, %.2f s (%.2f s by pg_stat_activity)",
		float64(transactions.P99)/1e6, most.Group, 100*float64(most.Total)/float64(max(all.Total, 1)), traced, waited)
	if most.Group != "WALWrite" {
		a.differs("most was waited for %q, want WALWrite", most.Group)
	}
	if transactions.P99 < commitDelay*1000 {
		a.differs("transaction p99 %d ns: the server waits %d µs before it writes the log", transactions.P99, commitDelay)
	}
	if math.Abs(traced/waited-1) > 0.1 {
		a.differs("%.2f s in WALWrite, the samples say %.2f", traced, waited)
	}
	return a
}

// setting changes one of the server's.
func (b *bench) setting(name, value string) error {
	_, err := b.query(fmt.Sprintf("alter system set %s = %s", name, value), "select pg_reload_conf()")
	return err
}

// sampleWaits adds up how long the server's processes waited for something, in seconds,
// by looking again and again for a time.
func (b *bench) sampleWaits(event string, length time.Duration) (float64, error) {
	var script strings.Builder
	for range length / sampling {
		fmt.Fprintf(&script, "select extract(epoch from clock_timestamp()), count(*) from pg_stat_activity where wait_event = '%s';\nselect pg_sleep(%v) \\g /dev/null\n",
			event, sampling.Seconds())
	}
	cmd := b.command("psql", "-X", "-q", "-A", "-t")
	cmd.Stdin = strings.NewReader(script.String())
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("sample waits: %w", err)
	}
	var last, waited float64
	for line := range strings.Lines(string(out)) {
		at, count, found := strings.Cut(strings.TrimSpace(line), "|")
		if !found {
			continue
		}
		when, err := strconv.ParseFloat(at, 64)
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(count)
		if err != nil {
			return 0, err
		}
		if last > 0 {
			waited += float64(n) * (when - last)
		}
		last = when
	}
	return waited, nil
}
