// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Monotonic returns CLOCK_MONOTONIC of the initial time namespace in ns: the
// clock of bpf_ktime_get_ns. It stands still while the machine is suspended.
func Monotonic() int64 { return read(unix.CLOCK_MONOTONIC) - Shift().Monotonic }

// Boot returns CLOCK_BOOTTIME of the initial time namespace in ns: the clock of
// the start times of threads.
func Boot() int64 { return read(unix.CLOCK_BOOTTIME) - Shift().Boot }

// Offsets are what a time namespace adds to the clocks of the initial one, in
// ns; see time_namespaces(7).
type Offsets struct{ Monotonic, Boot int64 }

// Shift returns the offsets of this process's time namespace: zero outside one,
// and on kernels without time namespaces.
var Shift = sync.OnceValue(func() Offsets {
	text, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		return Offsets{} // before Linux 5.5, or without CONFIG_TIME_NS
	}
	return parseOffsets(string(text))
})

// parseOffsets reads /proc/PID/timens_offsets: a clock, seconds and nanoseconds
// on each line.
func parseOffsets(text string) (o Offsets) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		seconds, err1 := strconv.ParseInt(f[1], 10, 64)
		ns, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		switch f[0] {
		case "monotonic":
			o.Monotonic = seconds*1e9 + ns
		case "boottime":
			o.Boot = seconds*1e9 + ns
		}
	}
	return o
}

func read(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic("read a clock: " + err.Error()) // every Linux has these
	}
	return ts.Nano()
}
