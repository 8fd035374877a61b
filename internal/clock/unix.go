// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Unix converts monotonic times to Unix times. It keeps one pair of readings and
// takes a new one only when the clocks have drifted apart noticeably (somebody
// set the time, or the machine was suspended), so the times of a session stay in
// the order of the monotonic clock. For one goroutine.
type Unix struct {
	read Reader
	last Reading
	next int64 // monotonic time of the next look

	steps     uint64
	suspended time.Duration
}

// Reading says how far two clocks are ahead of the monotonic one, in ns, and how
// far off that may be: the reader can be preempted between reading them.
type Reading struct{ Unix, Boot, Off int64 }

// Reader compares the clocks; tests bring their own.
type Reader func() Reading

const (
	lookInterval = int64(time.Second)
	maxDrift     = int64(time.Millisecond)
)

// NewUnix returns a converter; a nil read compares the machine's clocks.
func NewUnix(read Reader) *Unix {
	if read == nil {
		read = Compare
	}
	return &Unix{read: read, last: read()}
}

// At converts a monotonic time in ns to Unix time in ns.
func (c *Unix) At(monotonic int64) int64 { return monotonic + c.last.Unix }

// Check compares the clocks if a second has passed since the last time, and
// reports whether it did. now is a monotonic time.
func (c *Unix) Check(now int64) bool {
	if now < c.next {
		return false
	}
	c.next = now + lookInterval
	c.Look()
	return true
}

// Look compares the clocks.
func (c *Unix) Look() {
	fresh := c.read()
	step := maxDrift + fresh.Off + c.last.Off
	slept := fresh.Boot - c.last.Boot
	if slept > step {
		c.suspended += time.Duration(slept)
	} else {
		slept = 0
	}
	moved := fresh.Unix - c.last.Unix
	if set := moved - slept; set > step || -set > step {
		c.steps++
	}
	if slept > 0 || moved > step || -moved > step || c.last.Off > maxDrift/10 && fresh.Off < c.last.Off {
		c.last = fresh
	}
}

// Steps returns how often the system's time was set.
func (c *Unix) Steps() uint64 { return c.steps }

// Suspended returns how long the machine was suspended, which no monotonic
// duration counts.
func (c *Unix) Suspended() time.Duration { return c.suspended }

// Compare reads this machine's clocks and returns the tightest of a few
// comparisons.
func Compare() Reading {
	best := Reading{Off: math.MaxInt64}
	for range 10 {
		before := Monotonic()
		wall, boot := read(unix.CLOCK_REALTIME), Boot()
		after := Monotonic()
		if off := (after - before) / 2; off < best.Off {
			best = Reading{Unix: wall - before - off, Boot: boot - before - off, Off: off}
		}
		if best.Off < int64(10*time.Microsecond) {
			break
		}
	}
	return best
}
