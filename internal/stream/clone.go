// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"slices"
)

// Clone returns a copy of a record that stays valid. Paths, markers and
// protocol errors never change and are shared.
func Clone(r Record) Record {
	switch r := r.(type) {
	case *Boundary:
		c := *r
		c.Thread, c.ExitThread = r.Thread.clone(), r.ExitThread.clone()
		c.Attributes = bytes.Clone(r.Attributes)
		c.GPU, c.ProcessGPU = slices.Clone(r.GPU), slices.Clone(r.ProcessGPU)
		return &c
	case *Violation:
		c := *r
		c.Thread = r.Thread.clone()
		return &c
	case *Orphan:
		c := *r
		c.Thread = r.Thread.clone()
		return &c
	case *Loss:
		c := *r
		c.Thread = r.Thread.clone()
		return &c
	case *ProcessChange:
		c := *r
		c.Process = r.Process.clone()
		return &c
	case *Sample:
		c := *r
		c.Phase.Candidates = slices.Clone(r.Phase.Candidates)
		return &c
	case *Dropped:
		c := *r
		return &c
	}
	return r
}

// Clone returns a copy that stays valid.
func (s *Start) Clone() *Start {
	c := *s
	c.Processes = make([]*Process, len(s.Processes))
	for i, p := range s.Processes {
		c.Processes[i] = p.clone()
	}
	c.Pairs, c.Devices = slices.Clone(s.Pairs), slices.Clone(s.Devices)
	return &c
}

func (t *Thread) clone() *Thread {
	if t == nil {
		return nil
	}
	c := *t
	c.Process = t.Process.clone()
	return &c
}

func (p *Process) clone() *Process {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
