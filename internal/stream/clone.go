// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"slices"
)

// Clone returns a copy of a record that stays valid. Threads, processes, paths,
// markers and protocol errors never change and are shared.
func Clone(r Record) Record {
	switch r := r.(type) {
	case *Boundary:
		c := *r
		c.Attributes, c.ExitAttributes = bytes.Clone(r.Attributes), bytes.Clone(r.ExitAttributes)
		c.GPU, c.ProcessGPU = slices.Clone(r.GPU), slices.Clone(r.ProcessGPU)
		return &c
	case *Violation:
		c := *r
		return &c
	case *Orphan:
		c := *r
		return &c
	case *Loss:
		c := *r
		return &c
	case *ProcessChange:
		c := *r
		return &c
	case *PairChange:
		c := *r
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
	c.Processes = slices.Clone(s.Processes)
	c.Pairs, c.Devices = slices.Clone(s.Pairs), slices.Clone(s.Devices)
	return &c
}
