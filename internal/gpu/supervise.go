// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"fmt"
	"sync"
	"time"
)

// supervise looks at the calls under way and marks those over their deadline,
// until the sampler is closed.
func (s *Sampler) supervise() {
	ticker := time.NewTicker(max(s.o.Deadline/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.stop:
			return
		}
		if began := s.opening.Load(); began != 0 && s.o.Now()-began > int64(s.o.Deadline) {
			s.report.failed(-1, "", "library", &Error{Op: "open the NVML library", Status: StatusTimeout})
		}
		for _, r := range s.all() {
			r.superviseMemory()
			r.superviseList()
		}
	}
}

// superviseMemory queues a sample without values for every look at a hanging
// read, so that whoever waits for a sample learns that none is coming.
func (r *reader) superviseMemory() {
	late := r.memory.overdue(r.s, func(start, now int64) {
		r.put(Sample{Device: r.device.ID, Start: start, Mid: now, End: now, Status: StatusTimeout})
	})
	if late {
		r.tell("memory", timeoutError("read memory", r.device))
	}
}

func (r *reader) superviseList() {
	late := r.list.overdue(r.s, func(start, now int64) {
		for _, pid := range *r.s.pids.Load() {
			r.s.lists.put(ProcessSample{Device: r.device.ID, PID: pid, Start: start, Mid: now, End: now, Status: StatusTimeout})
		}
	})
	if late {
		r.tell("processes", timeoutError("read the process list", r.device))
	}
}

// overdue queues a mark when the call under way is over its deadline, and
// returns true the first time for that call.
func (c *call) overdue(s *Sampler, mark func(start, now int64)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := s.o.Now()
	if c.start == 0 || now-c.start <= int64(s.o.Deadline) {
		return false
	}
	mark(c.start, now)
	first := !c.late
	c.late = true
	return first
}

func timeoutError(op string, d Device) error {
	return &Error{Op: op + " of " + d.Label(), Status: StatusTimeout}
}

// Problem is something to tell the user, once.
type Problem struct {
	Device    int    // Device.ID, −1 for the library as a whole
	UUID      string // of the device
	Kind      string // "library", "memory" or "processes"
	Status    Status // what failed; for Recovered, what had failed
	Recovered bool   // it works again
	Message   string // one line, with what the user can do
}

// reporter passes each problem on once.
type reporter struct {
	fn   func(Problem)
	mu   sync.Mutex
	said map[reportKey]bool
	last map[reportKey]Status // last status other than OK, by device and kind
}

type reportKey struct {
	device    int
	kind      string
	status    Status
	recovered bool
}

func (r *reporter) failed(device int, uuid, kind string, err error) {
	status := StatusOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[reportKey]Status{}
	}
	r.last[reportKey{device: device, kind: kind}] = status
	r.once(Problem{Device: device, UUID: uuid, Kind: kind, Status: status, Message: err.Error()})
}

func (r *reporter) recovered(device int, uuid, kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := reportKey{device: device, kind: kind}
	status, failing := r.last[key]
	if !failing {
		return
	}
	delete(r.last, key)
	text := fmt.Sprintf("read %s of GPU %d: works again after: %s", kind, device, status.What())
	if device < 0 {
		text = "open the NVML library: works now, after: " + status.What()
	}
	r.once(Problem{Device: device, UUID: uuid, Kind: kind, Status: status, Recovered: true, Message: text})
}

// once needs r.mu.
func (r *reporter) once(p Problem) {
	key := reportKey{device: p.Device, kind: p.Kind, status: p.Status, recovered: p.Recovered}
	if r.fn == nil || r.said[key] {
		return
	}
	if r.said == nil {
		r.said = map[reportKey]bool{}
	}
	r.said[key] = true
	r.fn(p)
}
