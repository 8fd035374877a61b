// SPDX-License-Identifier: Apache-2.0

package gpu

import "time"

// Sample is one read of one device's memory, or the record that a read failed.
type Sample struct {
	Device int // Device.ID
	// Start and End enclose the call that read; Mid is halfway between and
	// stands for the moment of the read. ns, CLOCK_MONOTONIC.
	Start, Mid, End int64
	// The values are known only when Status is StatusOK, and each only if the
	// driver reports it.
	Used, Free, Total, Reserved Value
	Status                      Status
}

// Latency returns how long the read took in ns: the true moment of the read is
// within half of it around Mid.
func (s *Sample) Latency() int64 { return s.End - s.Start }

// ProcessSample is what one read of a device's process list said about one
// process.
type ProcessSample struct {
	Device          int
	PID             int
	Start, Mid, End int64 // as in Sample
	Used            Value // the process's memory on the device
	// Others is how many other processes the list has, OthersUsed their memory in
	// sum, unknown if that of any is. Both mean nothing unless the list was read.
	Others     int
	OthersUsed Value
	Status     Status
}

// middle returns the time halfway between two times without overflow.
func middle(start, end int64) int64 { return start + (end-start)/2 }

// Defaults of [Options].
const (
	DefaultBudget          = 0.01
	DefaultInterval        = 100 * time.Millisecond
	DefaultActiveInterval  = 2 * time.Millisecond
	DefaultProcessInterval = time.Second
	DefaultDeadline        = 2 * time.Second
	DefaultRetryInterval   = 10 * time.Second
	DefaultQueue           = 8192
)
