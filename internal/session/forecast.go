// SPDX-License-Identifier: Apache-2.0

package session

import (
	"math"
	"time"

	"github.com/phasetrace/phasetrace/internal/recorder"
	"github.com/phasetrace/phasetrace/internal/stream"
)

const (
	// worthForecast is how long a phase must usually take for a read just before
	// its exit.
	worthForecast = 4 * time.Millisecond
	// forecastAfter is how many scopes of a phase show how long it usually takes.
	forecastAfter = 3
	// forecastMargin is how long before the expected exit to read, at least: timers
	// are late by some of it.
	forecastMargin = 300 * time.Microsecond
)

// forecast expects phases to take as long as they did before, so that memory can be
// read just before an exit and not only after it.
type forecast struct {
	habits map[*recorder.Path]*habit
}

// habit is how long a phase takes, in ns: moving averages of the duration and of
// how far off it was.
type habit struct {
	seen      uint64
	mean, off float64
}

func newForecast() *forecast { return &forecast{habits: make(map[*recorder.Path]*habit)} }

// note takes a boundary and returns when to read before the exit of the scope that
// it enters; false if that is not known, or not worth it.
func (f *forecast) note(b *stream.Boundary) (at int64, ok bool) {
	h := f.habits[b.Path]
	if b.Action == recorder.Exit {
		if b.Doubt != stream.DoubtNone || b.Synthetic != stream.ReasonNone {
			return 0, false
		}
		if h == nil {
			h = &habit{mean: float64(b.Duration)}
			f.habits[b.Path] = h
		}
		h.add(float64(b.Duration))
		return 0, false
	}
	if h == nil || h.seen < forecastAfter || h.mean < float64(worthForecast) {
		return 0, false
	}
	margin := max(2*h.off, float64(forecastMargin))
	if margin > h.mean/2 {
		return 0, false // no telling
	}
	return b.Time + int64(h.mean-margin), true
}

func (h *habit) add(duration float64) {
	h.seen++
	share := 1 / float64(min(h.seen, 8))
	h.off += (math.Abs(duration-h.mean) - h.off) * share
	h.mean += (duration - h.mean) * share
}
