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
	crowd   *crowd
	expect  *forecast

	readings  []gpu.Reading
	procReads []gpu.ProcessReading
}

func newCorrelation(s *gpu.Sampler) *correlation {
	crowd := newCrowd()
	return &correlation{
		sampler: s,
		corr:    gpu.NewCorrelator(gpu.CorrelatorOptions{Witness: crowd}),
		devices: s.Devices(),
		crowd:   crowd,
		expect:  newForecast(),
	}
}

// news tells the sampler of a boundary: to read now, and before the exit that is to
// be expected.
func (g *correlation) news(b *stream.Boundary) {
	g.sampler.Kick()
	if at, ok := g.expect.note(b); ok {
		g.sampler.Expect(at)
	}
}

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
	g.crowd.ask(b)
	if b.Action == recorder.Enter {
		g.readings = g.corr.Enter(b.Slot, b.Time, g.readings[:0])
	} else {
		g.readings = g.corr.Exit(b.Slot, b.Time, g.readings[:0])
	}
	g.fillUnknown()
	g.procReads = g.procReads[:0]
	for i := range g.readings {
		g.judge(&g.readings[i], b)
	}
	b.GPU, b.ProcessGPU = g.readings, g.procReads
}

// judge applies to a reading what is known of the boundary's process.
func (g *correlation) judge(r *gpu.Reading, b *stream.Boundary) {
	pid := b.Thread.Process.HostPID
	g.procReads = append(g.procReads, g.corr.ProcessAt(r.Device, pid, b.Time))
	switch {
	case !g.corr.Uses(r.Device, pid): // another rank's
		*r = gpu.Reading{Device: r.Device, Status: gpu.StatusNotUsed}
	case b.Doubt != stream.DoubtNone: // the enter may be another scope's
		r.Change, r.ChangeLow, r.ChangeHigh, r.ChangeDoubt = gpu.Delta{}, 0, 0, 0
		r.Peak, r.Samples = gpu.Value{}, 0
	case r.Change.Known && g.corr.OthersMoved(r.Device, pid, b.Time-b.Duration):
		r.ChangeDoubt |= gpu.DoubtProcesses
	}
}

// attribute says which phase was active among those that a sample of a device can
// be of.
func (g *correlation) attribute(device int) recorder.Attribution {
	return g.active.attribute(func(pid int) bool { return g.corr.Uses(device, pid) })
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
