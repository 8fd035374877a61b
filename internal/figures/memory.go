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
	if r.Change.Known {
		d.Change.N += r.Change.N
		d.Changes++
		d.Change.Known = true
	}
	if r.Peak.Known && (!d.Peak.Known || r.Peak.N > d.Peak.N) {
		d.Peak = r.Peak
	}
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
	if other.Change.Known {
		d.Change.N += other.Change.N
		d.Changes += other.Changes
		d.Change.Known = true
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
