// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The system's clock is set and the machine suspended between two looks: Unix
// times follow, and both are told, each for what it was.
func TestClockJumps(t *testing.T) {
	const second, hour = int64(time.Second), int64(time.Hour)
	for _, tt := range []struct {
		name      string
		looks     []clockOffsets // the first is the session's start
		unix      int64          // of monotonic time 0 after the last
		steps     uint64
		suspended time.Duration
	}{
		{"quiet", []clockOffsets{{unix: 100, boot: 7}, {unix: 100, boot: 7}}, 100, 0, 0},
		{"drift below the bound", []clockOffsets{{unix: 100, boot: 7}, {unix: 100 + clockStep, boot: 7}}, 100, 0, 0},
		{"drift that adds up is followed once", []clockOffsets{{unix: 0, boot: 0}, {unix: clockStep, boot: 0}, {unix: clockStep + 1, boot: 0}, {unix: clockStep + 2, boot: 0}}, clockStep + 1, 1, 0},
		{"set forward", []clockOffsets{{unix: 0, boot: 0}, {unix: hour, boot: 0}}, hour, 1, 0},
		{"set back, twice", []clockOffsets{{unix: hour, boot: 0}, {unix: 0, boot: 0}, {unix: -hour, boot: 0}}, -hour, 2, 0},
		{"suspended", []clockOffsets{{unix: 5, boot: 5}, {unix: 5 + hour, boot: 5 + hour}, {unix: 5 + hour, boot: 5 + hour}}, 5 + hour, 0, time.Hour},
		{"suspended twice", []clockOffsets{{unix: 0, boot: 0}, {unix: hour, boot: hour}, {unix: hour + second, boot: hour + second}}, hour + second, 0, time.Hour + time.Second},
		{"read late, on a busy machine", []clockOffsets{{unix: 5}, {unix: 5 + 20*clockStep, off: 20 * clockStep}, {unix: 5}}, 5, 0, 0},
		{"read late at first", []clockOffsets{{unix: 20 * clockStep, boot: 20 * clockStep, off: 20 * clockStep}, {unix: 5}}, 5, 0, 0},
		{"suspended, and set back to where it was", []clockOffsets{{unix: 0, boot: 0}, {unix: 0, boot: hour}}, 0, 1, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := -1
			c := newClock(func() clockOffsets { i++; return tt.looks[i] })
			for now := int64(0); i < len(tt.looks)-1; now += second {
				if !c.check(now) || c.check(now+second-1) {
					t.Fatal("it does not look once a second")
				}
			}
			if c.unix(0) != tt.unix || c.steps != tt.steps || c.suspended != tt.suspended {
				t.Errorf("Unix time %d, %d steps, suspended for %v; want %d, %d, %v", c.unix(0), c.steps, c.suspended, tt.unix, tt.steps, tt.suspended)
			}
			var want []Note
			if tt.steps > 0 {
				want = append(want, Note{"times the system's clock was set: compare Unix times from before and after with care, monotonic times are right", tt.steps})
			}
			if tt.suspended > 0 {
				want = append(want, Note{"milliseconds for which the machine was suspended, which no duration counts", uint64(tt.suspended / time.Millisecond)})
			}
			if d := cmp.Diff(want, c.notes()); d != "" {
				t.Error(d)
			}
		})
	}
}

// The clocks of this machine are read as what they are.
func TestClockOffsets(t *testing.T) {
	o := readOffsets()
	if d := time.Since(time.Unix(0, monotonic()+o.unix)); d < -time.Second || d > time.Minute {
		t.Errorf("the Unix time made of the monotonic one is %v behind", d)
	}
	if o.boot < -clockStep {
		t.Errorf("the boot clock is %d ns behind the monotonic one", -o.boot)
	}
}
