// SPDX-License-Identifier: Apache-2.0

package nvsample

import "golang.org/x/sys/unix"

// Now returns CLOCK_MONOTONIC in ns: the clock that the kernel stamps events
// with, and that stands still while the machine is suspended.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("read CLOCK_MONOTONIC: " + err.Error()) // no Linux lacks it
	}
	return ts.Nano()
}
