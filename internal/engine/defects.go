// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/recorder"
)

// maxDefects bounds how many distinct defects are reported and counted
// separately.
const maxDefects = 256

// defect is what makes two violations the same defect of the program.
type defect struct {
	kind    recorder.Kind
	marker  *stream.Marker
	closing *recorder.Path
	top     *recorder.Path
	pid     int
}

// defects counts violations by defect.
type defects struct {
	index map[defect]int
	list  []stream.ViolationCount
	total uint64
	// unlisted are those of total that are beyond maxDefects.
	unlisted uint64
}

// seen counts v. If it is the first of its defect, and so to be reported, it
// returns the copy that is kept, valid until the next call. Beyond maxDefects
// only the total is counted.
func (d *defects) seen(v *stream.Violation) (first *stream.Violation) {
	d.total++
	k := defect{v.Err.Kind, v.Marker, v.Err.Closing.Path, v.Err.Top.Path, v.Thread.Process.PID}
	if i, ok := d.index[k]; ok {
		d.list[i].Count++
		return nil
	}
	if len(d.list) >= maxDefects {
		d.unlisted++
		return nil
	}
	if d.index == nil {
		d.index = make(map[defect]int)
	}
	d.index[k] = len(d.list)
	d.list = append(d.list, stream.ViolationCount{First: *v, Count: 1})
	return &d.list[len(d.list)-1].First
}

// counts returns the distinct defects, the most frequent first.
func (d *defects) counts() []stream.ViolationCount {
	out := slices.Clone(d.list)
	SortViolations(out)
	return out
}

// SortViolations puts the most frequent first.
func SortViolations(list []stream.ViolationCount) {
	slices.SortStableFunc(list, func(a, b stream.ViolationCount) int {
		switch {
		case a.Count > b.Count:
			return -1
		case a.Count < b.Count:
			return 1
		}
		return 0
	})
}
