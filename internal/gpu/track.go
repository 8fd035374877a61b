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
	mid  int64
	used uint64
}

// enter is what was known of the device at a scope's enter.
type enter struct {
	used   Value
	sample uint64 // ordinal of the sample plus 1, 0: none
	before uint64 // samples with a value before the enter
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

// advance brings every sample up to t into peaks.
func (d *track) advance(t int64) {
	for d.cursor < d.next && d.at(d.cursor).Mid <= t {
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
	d.peaks = append(d.peaks, peak{mid: s.Mid, used: s.Used.N})
}

// after returns the ordinal of the first sample later than t, next if none.
func (d *track) after(t int64) uint64 {
	if d.cursor == d.next || d.at(d.cursor).Mid > t {
		if d.cursor == d.first || d.at(d.cursor-1).Mid <= t {
			return d.cursor // moments asked for in order end here
		}
	}
	n := sort.Search(int(d.next-d.first), func(i int) bool { return d.at(d.first+uint64(i)).Mid > t })
	return d.first + uint64(n)
}

// countBefore returns how many samples with a value came before t.
func (d *track) countBefore(t int64) uint64 { return d.countUpTo(t - 1) }

// countUpTo returns how many samples with a value came at or before t.
func (d *track) countUpTo(t int64) uint64 {
	n := d.after(t)
	if n == d.next {
		return d.total
	}
	return d.counts[n%uint64(len(d.ring))]
}

// reading returns the sample nearest to t, the earlier of two equally near, and
// its ordinal plus 1 (0: none).
func (d *track) reading(device int, t int64) (Reading, uint64) {
	if d.next == d.first {
		return Reading{Device: device}, 0
	}
	n := d.after(t)
	if n == d.next || (n > d.first && t-d.at(n-1).Mid <= d.at(n).Mid-t) {
		n--
	}
	s := d.at(n)
	r := Reading{Device: device, Status: s.Status, Age: s.Mid - t, Latency: s.Latency()}
	if s.Status == StatusOK {
		r.Used, r.Free, r.Total, r.Reserved = s.Used, s.Free, s.Total, s.Reserved
	}
	return r, n + 1
}

// span fills in what happened from t0 to t1; e is what the enter knew, sample
// the ordinal plus 1 of the exit's sample.
func (d *track) span(r *Reading, t0, t1 int64, e enter, sample uint64) {
	if e.used.Known && r.Used.Known && e.sample != sample {
		r.Change = Delta{N: int64(r.Used.N) - int64(e.used.N), Known: true}
	}
	if n := d.countUpTo(t1); n > e.before {
		r.Samples = n - e.before
	}
	r.Peak = d.peak(t0, t1)
	if !r.Peak.Known {
		r.Samples = 0
	}
}

// peak returns the largest used from t0 to t1.
func (d *track) peak(t0, t1 int64) Value {
	i := sort.Search(len(d.peaks), func(i int) bool { return d.peaks[i].mid >= t0 })
	if i == len(d.peaks) {
		return Value{}
	}
	if d.peaks[i].mid <= t1 {
		return Bytes(d.peaks[i].used)
	}
	// A moment asked for out of order: the maximum since t0 lies after t1.
	if d.first > 0 && d.at(d.first).Mid >= t0 {
		return Value{}
	}
	return d.scan(t0, t1)
}

// scan is peak over the ring alone.
func (d *track) scan(t0, t1 int64) Value {
	var v Value
	for n := d.after(t0 - 1); n < d.next && d.at(n).Mid <= t1; n++ {
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
	oldest := d.at(d.first).Mid
	for i, p := range d.peaks {
		needed := false
		for k < len(enters) && enters[k] <= p.mid {
			needed, k = true, k+1
		}
		if needed || p.mid >= oldest || i == len(d.peaks)-1 {
			kept = append(kept, p)
		}
	}
	d.peaks = kept
	d.peakLimit = max(2*len(kept), 2*len(d.ring))
}
