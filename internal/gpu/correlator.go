// SPDX-License-Identifier: Apache-2.0

package gpu

import "time"

// Defaults of [CorrelatorOptions].
const (
	DefaultHistory = 4096
	DefaultWait    = 20 * time.Millisecond
)

// CorrelatorOptions of a [Correlator]. Zero fields take the defaults.
type CorrelatorOptions struct {
	// History is how many samples of each device are kept to find the
	// nearest one; moments may be asked for in any order within it. Peaks of
	// longer scopes stay exact.
	History int
	// Wait is how long after a moment [Correlator.Ready] says to wait for a
	// sample of it.
	Wait time.Duration
}

// Correlator gives moments their samples. Memory is bounded by the history and
// the number of open scopes; in steady state no method allocates. For one
// goroutine.
type Correlator struct {
	history   int
	wait      int64
	devices   []track
	watermark int64 // the latest moment asked for
	scopes    []scope
	processes processHistory
	skipped   uint64
}

// scope is what is remembered of an open scope, by slot.
type scope struct {
	open  bool
	enter int64
}

// Reading is what is known about a device at a moment.
type Reading struct {
	Device int
	Status Status
	// The nearest sample's values; unknown unless Status is StatusOK.
	Used, Free, Total, Reserved Value
	// Age is the middle of that read minus the moment, in ns: negative when the
	// read came before. Latency is how long the read took. Neither means anything
	// when Status is StatusNoSample.
	Age, Latency int64

	// Only from Exit:

	// Change is Used minus the Used that Enter gave; unknown when either is,
	// or when no new read lies between the two.
	Change Delta
	// Peak is the largest Used of the samples from enter to exit: a lower
	// bound of the true peak. Unknown when Samples is 0.
	Peak Value
	// Samples is how many reads Peak rests on.
	Samples uint64
}

// NewCorrelator returns a correlator that knows no device yet.
func NewCorrelator(o CorrelatorOptions) *Correlator {
	if o.History <= 1 {
		o.History = DefaultHistory
	}
	setDefault(&o.Wait, DefaultWait)
	return &Correlator{history: o.History, wait: int64(o.Wait), watermark: minTime}
}

// Expect announces n devices, so that moments wait for the first sample of each.
func (c *Correlator) Expect(n int) {
	for len(c.devices) < n {
		c.devices = append(c.devices, newTrack(c.history))
	}
}

// Add takes a sample. Samples of one device must come in the order of Mid; one
// that does not is skipped and counted by [Correlator.Skipped].
func (c *Correlator) Add(s Sample) {
	c.Expect(s.Device + 1)
	d := &c.devices[s.Device]
	if d.next > 0 && s.Mid < d.at(d.next-1).Mid {
		c.skipped++
		return
	}
	if len(d.peaks) >= d.peakLimit {
		d.prunePeaks(c.scopes)
	}
	d.add(s)
	if s.Mid <= c.watermark {
		c.addLate(d, s)
	}
}

// addLate accounts for a sample older than the last moment asked for.
func (c *Correlator) addLate(d *track, s Sample) {
	d.advance(c.watermark)
	if !counts(&s) {
		return
	}
	d.growEnters(len(c.scopes)) // scopes may be older than the device
	for slot := range c.scopes {
		if c.scopes[slot].open && c.scopes[slot].enter > s.Mid {
			d.enters[slot].before++
		}
	}
}

// Skipped returns how many samples came out of order.
func (c *Correlator) Skipped() uint64 { return c.skipped }

// Ready reports whether asking about moment t at time now gives the final
// answer: every device has a sample at or after t, or cannot be read, or the
// wait is over.
func (c *Correlator) Ready(t, now int64) bool {
	if now-t >= c.wait {
		return true
	}
	for i := range c.devices {
		d := &c.devices[i]
		if d.next == 0 {
			return false
		}
		if last := d.at(d.next - 1); last.Mid < t && last.Status == StatusOK {
			return false
		}
	}
	return true
}

// At returns the reading of one device at t, from the sample nearest to t.
func (c *Correlator) At(device int, t int64) Reading {
	if device < 0 || device >= len(c.devices) {
		return Reading{Device: device}
	}
	c.advance(t)
	r, _ := c.devices[device].reading(device, t)
	return r
}

// Enter notes that a scope begins at t and appends the reading of each device
// to dst. Slots are small dense numbers that the caller reuses after Exit.
func (c *Correlator) Enter(slot uint32, t int64, dst []Reading) []Reading {
	for uint32(len(c.scopes)) <= slot {
		c.scopes = append(c.scopes, scope{})
	}
	c.scopes[slot] = scope{open: true, enter: t}
	c.advance(t)
	for i := range c.devices {
		d := &c.devices[i]
		r, sample := d.reading(i, t)
		d.growEnters(len(c.scopes))
		d.enters[slot] = enter{used: r.Used, sample: sample, before: d.countBefore(t)}
		dst = append(dst, r)
	}
	return dst
}

// Exit ends the scope of that slot at t and appends the reading of each device,
// with change and peak, to dst. A slot that was not entered gives readings
// without them.
func (c *Correlator) Exit(slot uint32, t int64, dst []Reading) []Reading {
	var s scope
	if slot < uint32(len(c.scopes)) {
		s, c.scopes[slot] = c.scopes[slot], scope{}
	}
	c.advance(t)
	for i := range c.devices {
		d := &c.devices[i]
		r, sample := d.reading(i, t)
		if s.open {
			var e enter // zero for a device found after the enter
			if slot < uint32(len(d.enters)) {
				e, d.enters[slot] = d.enters[slot], enter{}
			}
			d.span(&r, s.enter, t, e, sample)
		}
		dst = append(dst, r)
	}
	return dst
}

// advance moves to moment t.
func (c *Correlator) advance(t int64) {
	if t <= c.watermark {
		return
	}
	c.watermark = t
	for i := range c.devices {
		c.devices[i].advance(t)
	}
}

// RunPeak returns the sample with the most memory used of all that were added,
// the earliest of equals; false when none was read.
func (c *Correlator) RunPeak(device int) (Sample, bool) {
	if device < 0 || device >= len(c.devices) {
		return Sample{}, false
	}
	s := c.devices[device].top
	return s, counts(&s)
}
