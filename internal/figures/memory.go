// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// memory adds an exit's changes and peaks of memory to its path.
func (p *path) memory(b *stream.Boundary) {
	if b.Doubt != stream.DoubtNone {
		return
	}
	for i := range b.GPU {
		p.device(b.GPU[i].Device).add(&b.GPU[i])
	}
	if b.Synthetic != stream.ReasonNone {
		return
	}
	if b.Resident.ChangeKnown {
		p.residentChange += b.Resident.Change
	}
	p.residentPeak = max(p.residentPeak, b.Resident.Bytes)
}

// device returns the path's figures of a device.
func (p *path) device(id int) *deviceFigures {
	for i := range p.gpu {
		if p.gpu[i].Device == id {
			return (*deviceFigures)(&p.gpu[i])
		}
	}
	p.gpu = append(p.gpu, stream.PathGPU{Device: id})
	return (*deviceFigures)(&p.gpu[len(p.gpu)-1])
}

type deviceFigures stream.PathGPU

func (d *deviceFigures) add(r *gpu.Reading) {
	d.Samples += r.Samples
	if r.Change.Known {
		d.Change = gpu.Delta{N: d.Change.N + r.Change.N, Known: true}
		d.ChangeLow += r.ChangeLow
		d.ChangeHigh += r.ChangeHigh
		d.Changes++
		d.Approximate += one(r.ChangeDoubt&gpu.DoubtReads != 0)
		d.Shared += one(r.ChangeDoubt&gpu.DoubtShared != 0)
		d.Certain += one(r.ChangeDoubt == 0)
	}
	if r.Peak.Known && (!d.Peak.Known || r.Peak.N > d.Peak.N) {
		d.Peak = r.Peak
	}
}

func one(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
}

// memory is the use of the devices over the whole session.
type memory struct {
	samples uint64
	peaks   map[int]stream.RunPeak // by device
}

// sample counts a read and keeps the highest use of each device, with who was
// active then.
func (m *memory) sample(s *stream.Sample) {
	m.samples++
	id := s.Sample.Device
	old, ok := m.peaks[id]
	if !s.Used.Known || ok && s.Used.N <= old.Used.N {
		return
	}
	if m.peaks == nil {
		m.peaks = make(map[int]stream.RunPeak)
	}
	phase := s.Phase
	phase.Candidates = slices.Clone(phase.Candidates)
	m.peaks[id] = stream.RunPeak{Device: id, Used: s.Used, Time: s.Mid, Phase: phase}
}

// runPeaks returns the peaks in the order of the devices.
func (m *memory) runPeaks() []stream.RunPeak {
	var out []stream.RunPeak
	for _, p := range m.peaks {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b stream.RunPeak) int { return a.Device - b.Device })
	return out
}

func (d *deviceFigures) merge(other *stream.PathGPU) {
	d.Samples += other.Samples
	if other.Change.Known {
		d.Change = gpu.Delta{N: d.Change.N + other.Change.N, Known: true}
		d.ChangeLow += other.ChangeLow
		d.ChangeHigh += other.ChangeHigh
		d.Changes += other.Changes
		d.Approximate += other.Approximate
		d.Shared += other.Shared
		d.Certain += other.Certain
	}
	if other.Peak.Known && (!d.Peak.Known || other.Peak.N > d.Peak.N) {
		d.Peak = other.Peak
	}
}

func (m *memory) merge(other *memory) {
	m.samples += other.samples
	for id, p := range other.peaks {
		if old, ok := m.peaks[id]; ok && old.Used.N >= p.Used.N {
			continue
		}
		if m.peaks == nil {
			m.peaks = make(map[int]stream.RunPeak)
		}
		m.peaks[id] = p
	}
}
