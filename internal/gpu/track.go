// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"math"
	"slices"
	"sort"
)

const minTime = math.MinInt64

// track is the history of one device: the last samples in a ring, addressed by
// ordinals that only grow, and the suffix maxima of all samples up to a cursor.
type track struct {
	ring   []Sample
	counts []uint64 // per ring entry: samples with a value before it, since the start
	first  uint64   // ordinal of the oldest sample in the ring
	next   uint64   // ordinal of the next sample
	cursor uint64   // samples before it are in peaks; first ≤ cursor ≤ next
	total  uint64   // samples with a value, since the start
	top    Sample   // the one with the most used

	// peaks holds, of the samples before the cursor, those with no later
	// sample that used as much: used falls, time rises. The maximum from any
	// time on is the first entry at or after it.
	peaks     []peak
	peakLimit int
	scratch   []int64 // of prunePeaks

	enters []enter // by slot
}

type peak struct {
	start int64 // of the read
	end   int64
	used  uint64
}

// enter is what was known of the device at a scope's enter.
type enter struct {
	used      Value
	low, high uint64 // as in Reading
	doubt     Doubt
	sample    uint64 // ordinal of the sample plus 1, 0: none
	from      int64  // start of that read
	before    uint64 // samples with a value that began before the enter
}

func newTrack(history int) track {
	return track{
		ring: make([]Sample, history), counts: make([]uint64, history),
		peaks: make([]peak, 0, 2*history), peakLimit: 2 * history,
	}
}

func (d *track) growEnters(n int) {
	for len(d.enters) < n {
		d.enters = append(d.enters, enter{})
	}
}

// counts reports whether a sample tells how much is used.
func counts(s *Sample) bool { return s.Status == StatusOK && s.Used.Known }

func (d *track) at(ordinal uint64) *Sample { return &d.ring[ordinal%uint64(len(d.ring))] }

// add appends a sample, forgetting the oldest when the ring is full.
func (d *track) add(s Sample) {
	if d.next-d.first == uint64(len(d.ring)) {
		if d.cursor == d.first {
			d.pass()
		}
		d.first++
	}
	d.counts[d.next%uint64(len(d.ring))] = d.total
	*d.at(d.next) = s
	d.next++
	if counts(&s) {
		d.total++
		if !counts(&d.top) || s.Used.N > d.top.Used.N {
			d.top = s
		}
	}
}

// advance brings every sample that ended up to t into peaks.
func (d *track) advance(t int64) {
	for d.cursor < d.next && d.at(d.cursor).End <= t {
		d.pass()
	}
}

// pass moves the cursor over one sample.
func (d *track) pass() {
	s := d.at(d.cursor)
	d.cursor++
	if !counts(s) {
		return
	}
	for n := len(d.peaks); n > 0 && d.peaks[n-1].used <= s.Used.N; n-- {
		d.peaks = d.peaks[:n-1]
	}
	d.peaks = append(d.peaks, peak{start: s.Start, end: s.End, used: s.Used.N})
}

// ended returns the ordinal of the first sample that ended after t, next if none.
func (d *track) ended(t int64) uint64 {
	if d.cursor == d.next || d.at(d.cursor).End > t {
		if d.cursor == d.first || d.at(d.cursor-1).End <= t {
			return d.cursor // moments asked for in order end here
		}
	}
	n := sort.Search(int(d.next-d.first), func(i int) bool { return d.at(d.first+uint64(i)).End > t })
	return d.first + uint64(n)
}

// following returns the ordinal of the first sample that began at or after t,
// next if none.
func (d *track) following(t int64) uint64 {
	n := d.ended(t)
	for n > d.first && d.at(n-1).Start >= t {
		n-- // reads that take no time
	}
	for n < d.next && d.at(n).Start < t {
		n++
	}
	return n
}

// countBegun returns how many samples with a value began before t.
func (d *track) countBegun(t int64) uint64 { return d.countBefore(d.following(t)) }

// countEnded returns how many samples with a value ended at or before t.
func (d *track) countEnded(t int64) uint64 { return d.countBefore(d.ended(t)) }

// countBefore returns how many samples with a value have a lower ordinal.
func (d *track) countBefore(n uint64) uint64 {
	if n == d.next {
		return d.total
	}
	return d.counts[n%uint64(len(d.ring))]
}

// window is where a reading comes from.
type window struct {
	sample uint64 // ordinal of the read that gave Used, plus 1; 0: none
	from   int64  // start of the first of the reads around the moment
}

// reading returns what the samples around t say.
func (d *track) reading(device int, t int64, w Witness) (Reading, window) {
	r := Reading{Device: device}
	if d.next == d.first {
		return r, window{}
	}
	n, after := d.ended(t), d.following(t)
	switch {
	case n > d.first && d.at(n-1).Status != StatusNotUsed:
		n--
	case after < d.next: // nothing before: the device was not read then
		n = after
		r.Doubt = DoubtOneSided
	case n > d.first:
		n--
	default: // the only read was under way
	}
	s := d.at(n)
	r.Status, r.Age, r.Latency = s.Status, s.Mid-t, s.Latency()
	if !counts(s) {
		r.Doubt = 0
		return r, window{n + 1, s.Start}
	}
	r.Used, r.Free, r.Total, r.Reserved = s.Used, s.Free, s.Total, s.Reserved
	d.around(&r, after, t)
	d.doubt(&r, n, after, w)
	return r, window{n + 1, s.Start}
}

// around fills in what reads say that were under way at t, and the one after it.
func (d *track) around(r *Reading, after uint64, t int64) {
	r.Low, r.High = r.Used.N, r.Used.N
	for i := d.ended(t); i <= after && i < d.next; i++ {
		if s := d.at(i); counts(s) {
			r.Low, r.High = min(r.Low, s.Used.N), max(r.High, s.Used.N)
		}
	}
	if after < d.next && counts(d.at(after)) {
		r.After, r.AfterAge = d.at(after).Used, d.at(after).Mid-t
	}
}

// doubt says why the sample n may not tell what was in use at the moment.
func (d *track) doubt(r *Reading, n, after uint64, w Witness) {
	to := int64(math.MaxInt64)
	if r.After.Known {
		to = d.at(after).End
	} else {
		r.Doubt |= DoubtOneSided
	}
	if r.Low != r.High {
		r.Doubt |= DoubtMoved
	}
	doubt := w.Between(d.at(n).Start, to)
	if r.Doubt != 0 {
		doubt &^= DoubtPhases // which is about reads that agree
	}
	r.Doubt |= doubt
}

// span fills in what happened from t0 to t1; e is what the enter knew, sample
// the ordinal plus 1 of the exit's sample.
func (d *track) span(r *Reading, t0, t1 int64, e enter, sample uint64) {
	if e.used.Known && r.Used.Known && e.sample != sample {
		r.Change = Delta{N: int64(r.Used.N) - int64(e.used.N), Known: true}
		r.ChangeLow, r.ChangeHigh = int64(r.Low)-int64(e.high), int64(r.High)-int64(e.low)
		r.ChangeDoubt = e.doubt | r.Doubt
	}
	if n := d.countEnded(t1); n > e.before {
		r.Samples = n - e.before
	}
	if r.Peak = d.peak(t0, t1); !r.Peak.Known {
		r.Samples = 0
	} else if e.used.Known && e.doubt&DoubtReads == 0 && e.used.N > r.Peak.N {
		r.Peak = e.used
	}
}

// peak returns the largest used of the reads that began and ended from t0 to t1.
func (d *track) peak(t0, t1 int64) Value {
	i := sort.Search(len(d.peaks), func(i int) bool { return d.peaks[i].start >= t0 })
	if i == len(d.peaks) {
		return Value{}
	}
	if d.peaks[i].end <= t1 {
		return Bytes(d.peaks[i].used)
	}
	// A moment asked for out of order: the maximum since t0 lies after t1.
	if d.first > 0 && d.at(d.first).Start >= t0 {
		return Value{}
	}
	return d.scan(t0, t1)
}

// scan is peak over the ring alone.
func (d *track) scan(t0, t1 int64) Value {
	var v Value
	for n := d.following(t0); n < d.next && d.at(n).End <= t1; n++ {
		if s := d.at(n); counts(s) && (!v.Known || s.Used.N > v.N) {
			v = s.Used
		}
	}
	return v
}

// prunePeaks drops the entries that no open scope's peak can be and that are
// older than the ring, so that memory that only falls cannot fill it.
func (d *track) prunePeaks(scopes []scope) {
	enters := d.scratch[:0]
	for _, s := range scopes {
		if s.open {
			enters = append(enters, s.enter)
		}
	}
	slices.Sort(enters)
	d.scratch = enters
	kept, k := d.peaks[:0], 0
	oldest := d.at(d.first).Start
	for i, p := range d.peaks {
		needed := false
		for k < len(enters) && enters[k] <= p.start {
			needed, k = true, k+1
		}
		if needed || p.start >= oldest || i == len(d.peaks)-1 {
			kept = append(kept, p)
		}
	}
	d.peaks = kept
	d.peakLimit = max(2*len(kept), 2*len(d.ring))
}
