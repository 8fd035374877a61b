// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock converts CLOCK_MONOTONIC, which records carry, to Unix time. It keeps
// one pair of readings and takes a new one only when the clocks have drifted
// apart noticeably (a clock step, a suspend): times of one session stay in the
// order of the monotonic clock.
type clock struct {
	offset int64 // Unix minus monotonic, ns
	next   int64 // monotonic time of the next look
}

const (
	clockLook = int64(time.Second)
	clockStep = int64(time.Millisecond)
)

func newClock() *clock {
	c := &clock{}
	c.offset = readOffset()
	return c
}

// unix converts a monotonic time.
func (c *clock) unix(mono int64) int64 { return mono + c.offset }

// check looks at the clocks again when it is time to, about once a second, and
// reports whether it was.
func (c *clock) check(now int64) bool {
	if now < c.next {
		return false
	}
	c.next = now + clockLook
	if fresh := readOffset(); fresh-c.offset > clockStep || c.offset-fresh > clockStep {
		c.offset = fresh
	}
	return true
}

func readOffset() int64 {
	before := monotonic()
	wall := time.Now().UnixNano()
	after := monotonic()
	return wall - (before + (after-before)/2)
}

func monotonic() int64 { return readClock(unix.CLOCK_MONOTONIC) }

// bootTime is the clock of thread start times, in ns.
func bootTime() uint64 { return uint64(readClock(unix.CLOCK_BOOTTIME)) }

func readClock(id int32) int64 {
	var ts unix.Timespec
	// Cannot fail for clocks that every Linux has.
	_ = unix.ClockGettime(id, &ts)
	return ts.Nano()
}
