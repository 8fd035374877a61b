// SPDX-License-Identifier: Apache-2.0

package stream

import "time"

// TracingCost is what tracing has cost the traced programs so far: hits of their
// markers, which were counted, times what a hit costs, which is an estimate.
type TracingCost struct {
	// Hit is what a hit costs on this machine, by how much CPU time of the program's own
	// lies between two of them. Unknown says why that could not be measured, "" if it
	// could; then no cost is known.
	Hit     []HitCost
	Unknown string
	All     ProcessCost // of all processes; without a Process
	// Processes are those that hit markers, the most expensive first, at most MaxCosts
	// of them; Total is how many there were.
	Processes []ProcessCost
	Total     int
}

// HitCost is what a hit costs after a gap.
type HitCost struct{ Gap, Cost time.Duration }

// MaxCosts bounds TracingCost.Processes.
const MaxCosts = 100

// ProcessCost is what tracing has cost one process, or all.
type ProcessCost struct {
	Process *Process
	Hits    uint64        // lost records included
	Cost    time.Duration // of CPU time; known unless TracingCost.Unknown
	// CPU is the CPU time of all threads while the process was traced, Cost included.
	// Not known of a process of whose end nobody told.
	CPU      time.Duration
	CPUKnown bool
	Pairs    []PairCost // the most expensive first
}

// Share is the share of the process's CPU time that Cost is, from 0 to 1; ok is false
// when it is not known.
func (c *ProcessCost) Share() (share float64, ok bool) {
	if !c.CPUKnown || c.CPU <= 0 {
		return 0, false
	}
	return min(float64(c.Cost)/float64(c.CPU), 1), true
}

// PairCost is what the markers of one pair have cost a process.
type PairCost struct {
	Name string // of its phases, or of its probes where the marker names them
	Hits uint64 // lost records left out: nobody knows of which pair they are
	Cost time.Duration
}
