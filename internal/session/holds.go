// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/loader"
	"github.com/phasetrace/phasetrace/internal/process"
)

// holds are the programs that wait until they have been looked at: in the kernel,
// or stopped.
type holds struct {
	tracer *loader.Tracer
	halter *process.Halter // nil: they wait in the kernel
	tasks  inbox           // of the goroutine that stops programs
}

// haltTime bounds how long a program that has run exec stays stopped. It is longer
// than loader.HoldTime, because such a program uses no CPU; only on a machine that
// is very busy does it take more than a tenth of it.
const haltTime = time.Second

// halt stops a program that waits in the kernel, where it uses up its CPU and
// delays the attaching that it waits for. False: it goes on waiting there.
func (h *holds) halt(c change) bool {
	if !h.tracer.Held(c.pid) {
		return false // it need not wait, or has waited for too long
	}
	if err := h.halter.Halt(c.pid); err != nil {
		return false
	}
	if !h.tracer.Held(c.pid) { // it has waited for too long, and begun to run
		h.halter.Release(c.pid)
		return false
	}
	if err := h.unhold(c, false); err != nil {
		h.halter.Release(c.pid)
		return false
	}
	return true
}

// unhold lets a program go on that waits in the kernel.
func (h *holds) unhold(c change, seen bool) error {
	if c.start {
		return h.tracer.ReleaseHeld(c.pid)
	}
	return h.tracer.ReleaseExec(c.pid, c.file, seen)
}

// waits reports whether a program has waited until now.
func (h *holds) waits(pid int) bool {
	return h.tracer.Waiting(pid) || h.halter != nil && h.halter.Halted(pid)
}

// waitsStill reports whether a program has waited from a change until now. One that
// waits may do so for a later one: no wait takes longer than loader.HoldTime.
func (h *holds) waitsStill(c change) bool {
	return h.waits(c.pid) && (c.halted || elapsed(c.since, clock.Monotonic()) < loader.HoldTime)
}

// letRun resumes a program that waits, in whichever way.
func (h *holds) letRun(c change, seen bool) error {
	var err error
	if c.exec {
		err = h.tracer.ReleaseExec(c.pid, c.file, seen)
	}
	if c.start {
		err = errors.Join(err, h.tracer.ReleaseHeld(c.pid))
	}
	if c.halted {
		h.halter.Release(c.pid)
	}
	return err
}

// run stops programs, one after the other, until no look is of use any more.
func (h *holds) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-h.tasks.wake:
			for _, task := range h.tasks.take() {
				task()
			}
		}
	}
}
