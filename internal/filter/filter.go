// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"strings"
	"time"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

// Filter is a list of conditions, all of which must hold. The zero Filter keeps
// everything. It is for one goroutine.
type Filter struct {
	conditions []condition
	late       bool // some need to know how long a phase took

	value   []byte // scratch
	leftOut uint64
}

// And adds the conditions of another filter.
func (f *Filter) And(other *Filter) {
	f.conditions = append(f.conditions, other.conditions...)
	f.late = f.late || other.late
}

// AtLeast adds the condition that a phase took at least some time.
func (f *Filter) AtLeast(d time.Duration) {
	f.conditions = append(f.conditions, condition{field: fieldDuration, op: opGreaterEqual, number: int64(d)})
	f.late = true
}

// Empty reports whether there are no conditions.
func (f *Filter) Empty() bool { return len(f.conditions) == 0 }

// ExitsOnly reports whether enters are left out: how long a phase takes is not known
// when it begins. Its exit has all that the enter had.
func (f *Filter) ExitsOnly() bool { return f.late }

// LeftOut is how many boundaries were not kept.
func (f *Filter) LeftOut() uint64 { return f.leftOut }

// Keep reports whether a record is to be written, and counts the others. Records
// other than boundaries are always kept: they tell what is wrong, or who is there.
func (f *Filter) Keep(r stream.Record) bool {
	b, ok := r.(*stream.Boundary)
	if !ok || f.matches(b) {
		return true
	}
	f.leftOut++
	return false
}

func (f *Filter) matches(b *stream.Boundary) bool {
	if f.late && b.Action == recorder.Enter {
		return false
	}
	for i := range f.conditions {
		if !f.holds(&f.conditions[i], b) {
			return false
		}
	}
	return true
}

// String is the filter as Parse takes it.
func (f *Filter) String() string {
	var words []string
	for i := range f.conditions {
		words = append(words, f.conditions[i].String())
	}
	return strings.Join(words, " && ")
}
