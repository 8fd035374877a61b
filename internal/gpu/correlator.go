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
	// History is how many samples of each device are kept to find those around
	// a moment; moments may be asked for in any order within it. Peaks of longer
	// scopes stay exact.
	History int
	// Wait is how long after a moment [Correlator.Ready] says to wait for a
	// sample after it.
	Wait time.Duration
	// Witness knows what else went on; nil: nothing did.
	Witness Witness
}

// Correlator gives moments their samples. Memory is bounded by the history and
// the number of open scopes; in steady state no method allocates. For one
// goroutine.
type Correlator struct {
	history   int
	wait      int64
	witness   Witness
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
	// The values of the last read that ended before the moment or, before the
	// first read of the device, of the first one after it; unknown unless Status
	// is StatusOK.
	Used, Free, Total, Reserved Value
	// Age is the middle of that read minus the moment, in ns: negative when the
	// read came before. Latency is how long the read took. Neither means anything
	// when Status is StatusNoSample.
	Age, Latency int64
	// After is what the first read said that began after the moment, unknown if
	// none came in time; AfterAge is its age in ns, positive.
	After    Value
	AfterAge int64
	// Low and High are the least and the most that Used, After and a read under
	// way at the moment say; 0 and without meaning unless Used is known.
	Low, High uint64
	// Doubt says why the memory in use at the moment may not have been Used.
	Doubt Doubt

	// Only from Exit:

	// Change is Used minus the Used that Enter gave; unknown when either is, or
	// when one read serves both: then the scope was too short for a read of its
	// own, and as far as reads can tell nothing changed. So the changes of scopes
	// that follow each other add up to the change from the first to the last.
	Change Delta
	// ChangeLow and ChangeHigh are the least and the most that the change can have
	// been by the reads at both ends; 0 and without meaning unless Change is known.
	ChangeLow, ChangeHigh int64
	// ChangeDoubt says why the change may not be the scope's.
	ChangeDoubt Doubt
	// Peak is the largest Used of the reads from enter to exit, and of a certain
	// enter: a lower bound of the true peak. It is never below the Used of an exit.
	// Unknown when Samples is 0.
	Peak Value
	// Samples is how many reads lie within the scope.
	Samples uint64
}

// NewCorrelator returns a correlator that knows no device yet.
func NewCorrelator(o CorrelatorOptions) *Correlator {
	if o.History <= 1 {
		o.History = DefaultHistory
	}
	setDefault(&o.Wait, DefaultWait)
	if o.Witness == nil {
		o.Witness = nobody{}
	}
	return &Correlator{history: o.History, wait: int64(o.Wait), witness: o.Witness, watermark: minTime}
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
	if s.Start < c.watermark {
		c.addLate(d, s)
	}
}

// addLate accounts for a sample that began before the last moment asked for.
func (c *Correlator) addLate(d *track, s Sample) {
	d.advance(c.watermark)
	if !counts(&s) {
		return
	}
	d.growEnters(len(c.scopes)) // scopes may be older than the device
	for slot := range c.scopes {
		if c.scopes[slot].open && c.scopes[slot].enter > s.Start {
			d.enters[slot].before++
		}
	}
}

// Skipped returns how many samples came out of order.
func (c *Correlator) Skipped() uint64 { return c.skipped }

// Ready reports whether asking about moment t at time now gives the final
// answer: every device has a sample that began at or after t, or cannot be read;
// and the witness knows, as of the time known, what happened up to its end. When
// the wait is over, nothing is waited for.
func (c *Correlator) Ready(t, now, known int64) bool {
	if now-t >= c.wait {
		return true
	}
	for i := range c.devices {
		d := &c.devices[i]
		if d.next == 0 {
			return false
		}
		if a := d.following(t); a < d.next {
			if d.at(a).End > known {
				return false
			}
		} else if d.at(d.next-1).Status == StatusOK {
			return false
		}
	}
	return true
}

// Until returns the time up to which the witness must know what happened for a
// question about t: the end of the last of the reads that came first after it, on
// each device; t if there is none.
func (c *Correlator) Until(t int64) int64 {
	until := t
	for i := range c.devices {
		d := &c.devices[i]
		if a := d.following(t); a < d.next {
			until = max(until, d.at(a).End)
		}
	}
	return until
}

// At returns the reading of one device at t, from the reads around it.
func (c *Correlator) At(device int, t int64) Reading {
	if device < 0 || device >= len(c.devices) {
		return Reading{Device: device}
	}
	c.advance(t)
	r, _ := c.devices[device].reading(device, t, c.witness)
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
		r, w := d.reading(i, t, c.witness)
		d.growEnters(len(c.scopes))
		d.enters[slot] = enter{
			used: r.Used, low: r.Low, high: r.High, doubt: r.Doubt,
			sample: w.sample, from: w.from, before: d.countBegun(t),
		}
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
		r, w := d.reading(i, t, c.witness)
		if s.open {
			var e enter // zero for a device found after the enter
			if slot < uint32(len(d.enters)) {
				e, d.enters[slot] = d.enters[slot], enter{}
			}
			d.span(&r, s.enter, t, e, w.sample)
			if r.Change.Known {
				r.ChangeDoubt |= c.witness.Since(e.from)
			}
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
