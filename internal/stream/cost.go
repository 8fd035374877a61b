// SPDX-License-Identifier: Apache-2.0

package stream

import "time"

// TracingCost is what tracing has cost the traced programs so far: hits of their
// markers, which were counted, times what a hit costs, which is an estimate.
type TracingCost struct {
	// Hot and Cold are what a hit costs on this machine: in a loop of nothing else,
	// and in a program that works for a microsecond or more between hits. Unknown says
	// why they could not be measured, "" if they could; then no cost is known.
	Hot, Cold time.Duration
	Unknown   string
	All       ProcessCost // of all processes; without a Process
	// Processes are those that hit markers, the most expensive first, at most MaxCosts
	// of them; Total is how many there were.
	Processes []ProcessCost
	Total     int
}

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
