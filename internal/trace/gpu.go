// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// correlation gives boundaries their samples.
type correlation struct {
	sampler *gpu.Sampler
	corr    *gpu.Correlator
	devices []gpu.Device
	fresh   []gpu.Sample // taken and not yet written
	buf     []gpu.Sample
	procs   []gpu.ProcessSample
	active  activity

	readings  []gpu.Reading
	procReads []gpu.ProcessReading
	samples   uint64
	peaks     map[int]stream.RunPeak
	byPath    map[int][]stream.PathGPU // by Path.ID
}

func newGPU(s *gpu.Sampler) *correlation {
	return &correlation{
		sampler: s,
		corr:    gpu.NewCorrelator(gpu.CorrelatorOptions{}),
		devices: s.Devices(),
		peaks:   make(map[int]stream.RunPeak),
		byPath:  make(map[int][]stream.PathGPU),
	}
}

func (g *correlation) kick() { g.sampler.Kick() }

func (g *correlation) device(id int) gpu.Device {
	if id < len(g.devices) {
		return g.devices[id]
	}
	return gpu.Device{ID: id}
}

// take moves new samples into the correlator.
func (g *correlation) take(now int64) {
	if len(g.devices) == 0 {
		g.devices = g.sampler.Devices()
		g.corr.Expect(len(g.devices))
	}
	g.buf = g.sampler.Take(g.buf[:0])
	for _, s := range g.buf {
		g.corr.Add(s)
	}
	g.fresh = append(g.fresh, g.buf...)
	g.procs = g.sampler.TakeProcesses(g.procs[:0])
	for _, p := range g.procs {
		g.corr.AddProcess(p)
	}
}

// complete gives a boundary the readings that belong to it. Boundaries come in
// the order in which scopes were entered and exited.
func (g *correlation) complete(b *stream.Boundary) {
	g.active.apply(b)
	if b.Action == recorder.Enter {
		g.readings = g.corr.Enter(b.Slot, b.Time, g.readings[:0])
	} else {
		g.readings = g.corr.Exit(b.Slot, b.Time, g.readings[:0])
		g.account(b)
	}
	g.fillUnknown()
	g.procReads = g.procReads[:0]
	for _, r := range g.readings {
		g.procReads = append(g.procReads, g.corr.ProcessAt(r.Device, b.Thread.Process.HostPID, b.Time))
	}
	b.GPU, b.ProcessGPU = g.readings, g.procReads
}

// fillUnknown adds a reading without a value for every device that has none:
// what is not known must be seen not to be.
func (g *correlation) fillUnknown() {
	for i := len(g.readings); i < len(g.devices); i++ {
		known := func(r gpu.Reading) bool { return r.Device == g.devices[i].ID }
		if !slices.ContainsFunc(g.readings, known) {
			g.readings = append(g.readings, gpu.Reading{Device: g.devices[i].ID})
		}
	}
}

// account adds an exit's readings to its path.
func (g *correlation) account(b *stream.Boundary) {
	id := b.Path.ID()
	figures := g.byPath[id]
	for _, r := range g.readings {
		i := 0
		for i < len(figures) && figures[i].Device != r.Device {
			i++
		}
		if i == len(figures) {
			figures = append(figures, stream.PathGPU{Device: r.Device})
		}
		f := &figures[i]
		if r.Change.Known {
			f.Change.N += r.Change.N
			f.Changes++
			f.Change.Known = true
		}
		if r.Peak.Known && (!f.Peak.Known || r.Peak.N > f.Peak.N) {
			f.Peak = r.Peak
		}
	}
	g.byPath[id] = figures
}

// note counts a sample of the session and keeps the highest use of each device and who was active then.
func (g *correlation) note(s *stream.Sample) {
	g.samples++
	old, ok := g.peaks[s.Sample.Device]
	if s.Used.Known && (!ok || s.Used.N > old.Used.N) {
		g.peaks[s.Sample.Device] = stream.RunPeak{Device: s.Sample.Device, Used: s.Used, Time: s.Mid, Phase: s.Phase}
	}
}
