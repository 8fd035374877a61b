// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/event"
)

// trapped are the targets that a breakpoint has killed. That happens to a program
// that copies its code to other memory while there are probes in it.
type trapped struct {
	count uint64
	fresh []string // that have not been told of
}

// maxTrapped bounds the processes that are told of one by one.
const maxTrapped = 16

// note takes an event. It may be called with the core locked.
func (t *trapped) note(ev event.Event) {
	e, ok := ev.(*event.ProcessExit)
	if !ok || unix.WaitStatus(e.Status).Signal() != unix.SIGTRAP {
		return
	}
	if t.count++; t.count <= maxTrapped {
		t.fresh = append(t.fresh, fmt.Sprintf("process %d (%s)", e.Who.ViewPID, e.Who.Comm))
	}
}

// tell tells of those that have come since.
func (t *trapped) tell(say func(string)) {
	for _, who := range t.fresh {
		say(fmt.Sprintf("warning: %s was killed by SIGTRAP. A program that moves its code to other memory, such as huge pages, takes the breakpoints of probes with it and dies of them: run it without that, or attach once it has moved", who))
	}
	t.fresh = nil
}
