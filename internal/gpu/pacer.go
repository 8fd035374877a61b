// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"math"
	"time"
)

const (
	// never is a due time that does not come.
	never = math.MaxInt64
	// BurstWindow is the time whose allowance may be spent at once.
	BurstWindow = 100 * time.Millisecond
	// activeFor is how long after a kick a reader keeps its active interval.
	activeFor = 250 * time.Millisecond
	// wakeCost is charged with every read for what it costs around its call
	// (clocks, handing the sample over), so that even free calls have a limit.
	// Being woken by a timer costs more and is not charged: docs/gpu.md has the
	// figures.
	wakeCost = 3 * time.Microsecond
	// maxCharge bounds what one read costs, so that one very slow call does
	// not keep a reader silent for minutes.
	maxCharge = 100 * time.Millisecond
	// outlier is how many times the usual cost a read must cost to be paid in
	// instalments. On a busy machine a read that is interrupted looks slow; paid
	// at once, it would stop reads for a second.
	outlier = 8
	// DebtWindow is the time whose allowance may be owed in instalments.
	DebtWindow = 5 * time.Second
)

// pacer decides when one device is read next. It is a token bucket of time spent
// in calls, so what a read costs is what was measured, and a slower driver is
// read less often by itself. Over a time T it allows the share of T, of
// BurstWindow and of DebtWindow, and one read. Kicked reads may empty the bucket;
// other reads leave them half of it. Not safe for concurrent use.
type pacer struct {
	rate             float64 // ns of calls allowed per ns
	size             float64 // ns of calls that may be made at once
	interval, active int64   // ns between reads without a kick: at rest, and after a kick
	retry            int64   // ns between reads of a device that fails

	tokens    float64 // ns; negative after a read that cost more than was left
	debt      float64 // ns of past reads, paid off with half of the income
	filled    int64   // when tokens was brought up to date
	latency   float64 // ns, moving average
	last      int64   // end of the last read
	lastKick  int64
	notBefore int64 // set by failures
	backoff   int64
	begun     bool
}

func newPacer(rate float64, o Options, now int64) *pacer {
	size := rate * float64(BurstWindow)
	return &pacer{
		rate: rate, size: size, tokens: size, filled: now,
		interval: int64(o.Interval), active: int64(o.ActiveInterval), retry: int64(o.RetryInterval),
		latency: float64(12 * time.Microsecond), lastKick: math.MinInt64 / 2,
	}
}

// due returns when to read next, at or before now meaning at once. Pass kicked
// when a boundary happened that no read has followed yet, and the next moment for
// which a read is wanted.
func (p *pacer) due(now int64, kicked bool, wish int64) int64 {
	if !p.begun {
		return now
	}
	p.fill(now)
	if kicked {
		p.lastKick = now
		return max(p.notBefore, p.affordable(now, 0))
	}
	interval := p.interval
	if now-p.lastKick < int64(activeFor) {
		interval = min(interval, p.active)
	}
	regular := max(p.last+interval, p.affordable(now, p.size/2))
	return max(p.notBefore, min(regular, max(wish, p.affordable(now, 0))))
}

// affordable returns when the next read can be paid with that much left over.
func (p *pacer) affordable(now int64, keep float64) int64 {
	missing := min(p.cost(p.latency)+keep, p.size) - p.tokens
	if missing <= 0 {
		return now
	}
	wait := missing / p.rate
	if p.debt > 0 {
		wait *= 2 // or less, when the debt is paid before
	}
	return now + int64(math.Ceil(wait))
}

func (p *pacer) fill(now int64) {
	if now <= p.filled {
		return
	}
	income := float64(now-p.filled) * p.rate
	instalment := min(p.debt, income/2)
	p.debt -= instalment
	p.tokens = min(p.size, p.tokens+income-instalment)
	p.filled = now
}

// done records a read that began at start and ended at end, and what came of it.
func (p *pacer) done(start, end int64, s Status) {
	p.begun = true
	p.fill(end)
	spent := float64(end - start)
	if s == StatusTimeout {
		p.tokens = min(p.tokens, 0) // it waited for the driver and burned no core
	} else {
		p.pay(spent)
	}
	p.last = end
	p.notBefore, p.backoff = p.afterStatus(end, s), p.nextBackoff(s)
}

// pay takes the cost of a read from the tokens. The unusual part of it is paid
// later, as long as the debt is within bounds.
func (p *pacer) pay(spent float64) {
	usual := min(p.cost(spent), outlier*p.cost(p.latency))
	owed := min(p.cost(spent)-usual, max(0, p.rate*float64(DebtWindow)-p.debt))
	p.debt += owed
	p.tokens -= p.cost(spent) - owed
	p.latency += (min(spent, outlier*p.latency, float64(maxCharge)) - p.latency) / 8
	p.latency = max(p.latency, float64(time.Microsecond))
}

func (p *pacer) cost(latency float64) float64 {
	return min(latency, float64(maxCharge)) + float64(wakeCost)
}

// afterStatus returns before which time not to read again: an unknown failure
// may pass soon, the others last. A driver that answers late is left alone like
// one that fails: the target's own calls may wait for ours.
func (p *pacer) afterStatus(end int64, s Status) int64 {
	switch s {
	case StatusOK:
		return end
	case StatusTimeout, StatusError, StatusNotReady, StatusNotAvailable:
		return end + p.nextBackoff(s)
	default:
		return end + p.retry
	}
}

func (p *pacer) nextBackoff(s Status) int64 {
	switch {
	case s == StatusOK:
		return 0
	case p.backoff == 0:
		return min(p.interval, p.retry)
	default:
		return min(2*p.backoff, p.retry)
	}
}
