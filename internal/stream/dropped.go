// SPDX-License-Identifier: Apache-2.0

package stream

// Counts are numbers of records by kind.
type Counts struct {
	Boundaries     uint64
	Violations     uint64
	Orphans        uint64
	Losses         uint64
	ProcessChanges uint64
	PairChanges    uint64
	Samples        uint64
}

// Add counts a record. A Dropped counts as the records it stands for.
func (c *Counts) Add(r Record) {
	switch r := r.(type) {
	case *Boundary:
		c.Boundaries++
	case *Violation:
		c.Violations++
	case *Orphan:
		c.Orphans++
	case *Loss:
		c.Losses++
	case *ProcessChange:
		c.ProcessChanges++
	case *PairChange:
		c.PairChanges++
	case *Sample:
		c.Samples++
	case *Dropped:
		c.Merge(r.Counts)
	}
}

// Merge adds other counts.
func (c *Counts) Merge(other Counts) {
	c.Boundaries += other.Boundaries
	c.Violations += other.Violations
	c.Orphans += other.Orphans
	c.Losses += other.Losses
	c.ProcessChanges += other.ProcessChanges
	c.PairChanges += other.PairChanges
	c.Samples += other.Samples
}

// Total is the number of records of all kinds.
func (c Counts) Total() uint64 {
	return c.Boundaries + c.Violations + c.Orphans + c.Losses + c.ProcessChanges + c.PairChanges + c.Samples
}

// Dropped tells a sink that records are missing at this place in its stream,
// because it was too slow for them. The session itself has lost nothing: its
// figures and summary include them. See [Async].
type Dropped struct {
	Time, Unix int64 // of the first record that is missing
	Until      int64 // of the last one, ns CLOCK_MONOTONIC
	Counts     Counts
}

// note counts one more record that is missing.
func (d *Dropped) note(r Record) {
	first := *d == Dropped{}
	time, unix, until := times(r)
	if first {
		d.Time, d.Unix = time, unix
	}
	d.Until = until
	d.Counts.Add(r)
}

// times returns when a record happened, in CLOCK_MONOTONIC and Unix time, and for
// a Dropped, which covers a span, when that ended.
func times(r Record) (time, unix, until int64) {
	switch r := r.(type) {
	case *Boundary:
		time, unix = r.Time, r.Unix
	case *Violation:
		time, unix = r.Time, r.Unix
	case *Orphan:
		time, unix = r.Time, r.Unix
	case *Loss:
		time, unix = r.Time, r.Unix
	case *ProcessChange:
		time, unix = r.Time, r.Unix
	case *PairChange:
		time, unix = r.Time, r.Unix
	case *Sample:
		time, unix = r.Mid, r.Unix
	case *Dropped:
		return r.Time, r.Unix, r.Until
	}
	return time, unix, time
}
