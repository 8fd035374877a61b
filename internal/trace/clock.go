// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// clock converts CLOCK_MONOTONIC, which records carry, to Unix time. It keeps
// one pair of readings and takes a new one only when the clocks have drifted
// apart noticeably (a clock step, a suspend): times of one session stay in the
// order of the monotonic clock, which setting the time and suspends do not move.
type clock struct {
	read clockReader
	last clockOffsets
	next int64 // monotonic time of the next look

	steps     uint64        // how often the system's time was set
	suspended time.Duration // no duration counts it
}

// clockOffsets are how far two clocks are ahead of the monotonic one, in ns, and
// how far off that may be: who reads them can be kept from running in between.
type clockOffsets struct{ unix, boot, off int64 }

// clockReader reads them; tests bring their own.
type clockReader func() clockOffsets

const (
	clockLook = int64(time.Second)
	clockStep = int64(time.Millisecond)
)

func newClock(read clockReader) *clock { return &clock{read: read, last: read()} }

// unix converts a monotonic time.
func (c *clock) unix(mono int64) int64 { return mono + c.last.unix }

// check looks at the clocks again when it is time to, about once a second, and
// reports whether it was.
func (c *clock) check(now int64) bool {
	if now < c.next {
		return false
	}
	c.next = now + clockLook
	c.look()
	return true
}

func (c *clock) look() {
	fresh := c.read()
	step := clockStep + fresh.off + c.last.off
	slept := fresh.boot - c.last.boot
	if slept > step {
		c.suspended += time.Duration(slept)
	} else {
		slept = 0
	}
	moved := fresh.unix - c.last.unix
	if set := moved - slept; set > step || -set > step {
		c.steps++
	}
	if slept > 0 || moved > step || -moved > step || c.last.off > clockStep/10 && fresh.off < c.last.off {
		c.last = fresh
	}
}

// notes says what the clocks did that a reader of times must know.
func (c *clock) notes() []Note {
	var out []Note
	if c.steps > 0 {
		out = append(out, Note{"times the system's clock was set: compare Unix times from before and after with care, monotonic times are right", c.steps})
	}
	if ms := c.suspended.Milliseconds(); ms > 0 {
		out = append(out, Note{"milliseconds for which the machine was suspended, which no duration counts", uint64(ms)})
	}
	return out
}

// readOffsets compares the clocks of this machine, and takes the tightest of a few
// comparisons.
func readOffsets() clockOffsets {
	best := clockOffsets{off: math.MaxInt64}
	for range 10 {
		before := monotonic()
		wall, boot := time.Now().UnixNano(), int64(bootTime())
		after := monotonic()
		if off := (after - before) / 2; off < best.off {
			best = clockOffsets{unix: wall - before - off, boot: boot - before - off, off: off}
		}
		if best.off < int64(10*time.Microsecond) {
			break
		}
	}
	return best
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
