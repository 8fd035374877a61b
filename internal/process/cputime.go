// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns the CPU time of all threads that a process ever had, of its latest
// moment. It can be read until somebody has waited for the process.
//
// The clock's number is made of the process id: include/linux/posix-timers_types.h,
// CPUCLOCK_SCHED.
func CPUTime(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
