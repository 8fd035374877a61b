// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"testing"
	"time"
)

// The system's clock is set and the machine suspended between two looks: Unix
// times follow, and both are reported, each as what it was.
func TestClockJumps(t *testing.T) {
	const second, hour = int64(time.Second), int64(time.Hour)
	for _, tt := range []struct {
		name      string
		looks     []Reading // the first is the session's start
		unix      int64     // of monotonic time 0 after the last
		steps     uint64
		suspended time.Duration
	}{
		{"quiet", []Reading{{Unix: 100, Boot: 7}, {Unix: 100, Boot: 7}}, 100, 0, 0},
		{"drift below the bound", []Reading{{Unix: 100, Boot: 7}, {Unix: 100 + maxDrift, Boot: 7}}, 100, 0, 0},
		{"drift that adds up is followed once", []Reading{{Unix: 0, Boot: 0}, {Unix: maxDrift, Boot: 0}, {Unix: maxDrift + 1, Boot: 0}, {Unix: maxDrift + 2, Boot: 0}}, maxDrift + 1, 1, 0},
		{"set forward", []Reading{{Unix: 0, Boot: 0}, {Unix: hour, Boot: 0}}, hour, 1, 0},
		{"set back, twice", []Reading{{Unix: hour, Boot: 0}, {Unix: 0, Boot: 0}, {Unix: -hour, Boot: 0}}, -hour, 2, 0},
		{"suspended", []Reading{{Unix: 5, Boot: 5}, {Unix: 5 + hour, Boot: 5 + hour}, {Unix: 5 + hour, Boot: 5 + hour}}, 5 + hour, 0, time.Hour},
		{"suspended twice", []Reading{{Unix: 0, Boot: 0}, {Unix: hour, Boot: hour}, {Unix: hour + second, Boot: hour + second}}, hour + second, 0, time.Hour + time.Second},
		{"read late, on a busy machine", []Reading{{Unix: 5}, {Unix: 5 + 20*maxDrift, Off: 20 * maxDrift}, {Unix: 5}}, 5, 0, 0},
		{"read late at first", []Reading{{Unix: 20 * maxDrift, Boot: 20 * maxDrift, Off: 20 * maxDrift}, {Unix: 5}}, 5, 0, 0},
		{"suspended, and set back to where it was", []Reading{{Unix: 0, Boot: 0}, {Unix: 0, Boot: hour}}, 0, 1, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := -1
			c := NewUnix(func() Reading { i++; return tt.looks[i] })
			for now := int64(0); i < len(tt.looks)-1; now += second {
				if !c.Check(now) || c.Check(now+second-1) {
					t.Fatal("it does not look once a second")
				}
			}
			if c.At(0) != tt.unix || c.steps != tt.steps || c.suspended != tt.suspended {
				t.Errorf("Unix time %d, %d steps, suspended for %v; want %d, %d, %v", c.At(0), c.steps, c.suspended, tt.unix, tt.steps, tt.suspended)
			}
		})
	}
}

// The clocks of this machine are read as what they are.
func TestCompare(t *testing.T) {
	o := Compare()
	if d := time.Since(time.Unix(0, Monotonic()+o.Unix)); d < -time.Second || d > time.Minute {
		t.Errorf("the Unix time made of the monotonic one is %v behind", d)
	}
	if o.Boot < -maxDrift {
		t.Errorf("the boot clock is %d ns behind the monotonic one", -o.Boot)
	}
}
