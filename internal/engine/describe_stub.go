// SPDX-License-Identifier: Apache-2.0

package engine

// Description is what a look at a process tells.
type Description struct {
	Comm, Exe    string
	ContainerPID int
	Rank         int32
	RankSource   string
	StartTime    uint64
}

// Described completes a process.
func (e *Engine) Described(pid int, d Description) {
	p := e.processes[pid]
	if p == nil {
		return
	}
	p.Comm, p.Exe, p.StartTime = d.Comm, d.Exe, d.StartTime
	if d.ContainerPID != 0 {
		p.ContainerPID = d.ContainerPID
	}
	if d.RankSource != "" && p.RankSource != "marker" {
		p.Rank, p.RankSource = d.Rank, d.RankSource
	}
}
