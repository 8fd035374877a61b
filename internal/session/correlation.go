// SPDX-License-Identifier: Apache-2.0

package session

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
}

func newCorrelation(s *gpu.Sampler) *correlation {
	return &correlation{
		sampler: s,
		corr:    gpu.NewCorrelator(gpu.CorrelatorOptions{}),
		devices: s.Devices(),
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
	}
	if b.Doubt != stream.DoubtNone { // the enter may be another scope's
		for i := range g.readings {
			r := &g.readings[i]
			r.Change, r.Peak, r.Samples = gpu.Delta{}, gpu.Value{}, 0
		}
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
