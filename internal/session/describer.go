// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	"github.com/phasetrace/phasetrace/internal/engine"
	"github.com/phasetrace/phasetrace/internal/process"
)

// describer asks /proc who a process is that has just run another program: its
// first phases come at once, and its rank is in its environment. Reading that can
// hang for as long as the process likes, so the reader waits a bounded time for
// it, and stops asking when that was in vain too often.
type describer struct {
	describe func(*process.Process) engine.Description
	vain     int
}

const (
	// describeTime is how long the reader waits for one description. It takes
	// some 150 µs on a machine that has a CPU free.
	describeTime = 50 * time.Millisecond
	// maxVain bounds the waits without an answer.
	maxVain = 16
)

// ask describes a process. false: it has ended, or does not answer in time; then
// the watcher's look tells.
func (d *describer) ask(pid int) (engine.Description, bool) {
	if d.vain >= maxVain {
		return engine.Description{}, false
	}
	answer := make(chan *engine.Description, 1)
	go func() {
		proc, err := process.Open(pid)
		if err != nil {
			answer <- nil
			return
		}
		defer proc.Close()
		a := d.describe(proc)
		answer <- &a
	}()
	select {
	case a := <-answer:
		if a == nil {
			return engine.Description{}, false
		}
		return *a, true
	case <-time.After(describeTime):
		d.vain++
		return engine.Description{}, false
	}
}
