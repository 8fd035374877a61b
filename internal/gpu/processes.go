// SPDX-License-Identifier: Apache-2.0

package gpu

// processHistory keeps the last few samples of each process on each device.
type processHistory struct {
	recent map[processKey]*processRing
}

type processKey struct{ device, pid int }

const (
	processDepth = 4
	// maxProcesses bounds the map: targets that fork endlessly must not grow it.
	// Beyond it all entries are dropped; the next lists bring the living ones
	// back.
	maxProcesses = 8192
)

type processRing struct {
	samples [processDepth]ProcessSample
	next    int
	filled  int
	// What the last list that could be read told of others.
	told       bool
	others     int
	othersUsed Value
	// moved is the middle of the last list that told of others what the list before
	// it did not, minTime if none did.
	moved int64
}

// newest returns the sample added last.
func (r *processRing) newest() *ProcessSample {
	return &r.samples[(r.next+processDepth-1)%processDepth]
}

// listed reports whether the newest list has the process.
func (r *processRing) listed() bool {
	return r != nil && (r.newest().Used.Known || r.newest().Status == StatusNotAvailable)
}

// note looks whether a list tells something new of other processes.
func (r *processRing) note(s *ProcessSample) {
	if s.Others == 0 && !s.OthersUsed.Known {
		return // it was not read
	}
	same := s.Others == r.others && s.OthersUsed == r.othersUsed && s.OthersUsed.Known
	if !same && (r.told || s.Others > 0) {
		r.moved = s.Mid
	}
	r.told, r.others, r.othersUsed = true, s.Others, s.OthersUsed
}

// ProcessReading is what is known of one process's memory on a device at a
// moment.
type ProcessReading struct {
	Status Status
	Used   Value // unknown unless Status is StatusOK
	// Age and Latency as in [Reading]; lists are read about once a second,
	// so ages are of that order.
	Age, Latency int64
	// Others is how many other processes that list has on the device.
	Others int
}

// AddProcess takes a sample of a process list.
func (c *Correlator) AddProcess(s ProcessSample) {
	h := &c.processes
	key := processKey{s.Device, s.PID}
	ring := h.recent[key]
	if ring == nil {
		if h.recent == nil || len(h.recent) >= maxProcesses {
			h.recent = make(map[processKey]*processRing)
		}
		ring = &processRing{moved: minTime}
		h.recent[key] = ring
	}
	ring.note(&s)
	ring.samples[ring.next] = s
	ring.next = (ring.next + 1) % processDepth
	ring.filled = min(ring.filled+1, processDepth)
}

// OthersMoved reports whether lists show that other processes than that one may
// have taken or freed memory on the device since t, or between the last two lists.
func (c *Correlator) OthersMoved(device, pid int, t int64) bool {
	ring := c.processes.recent[processKey{device, pid}]
	if ring == nil || ring.moved == minTime {
		return false
	}
	return ring.moved >= min(t, ring.newest().Mid)
}

// Uses reports whether a process uses a device, as far as lists tell: true as well
// if no device's list has it.
func (c *Correlator) Uses(device, pid int) bool {
	ring := c.processes.recent[processKey{device, pid}]
	if ring == nil || ring.newest().Status != StatusNotListed {
		return true
	}
	for i := range c.devices {
		if c.processes.recent[processKey{i, pid}].listed() {
			return false
		}
	}
	return true
}

// ProcessAt returns the memory of a process on a device at t, from the list
// read nearest to t.
func (c *Correlator) ProcessAt(device, pid int, t int64) ProcessReading {
	ring := c.processes.recent[processKey{device, pid}]
	if ring == nil {
		return ProcessReading{}
	}
	best := &ring.samples[0]
	for i := 1; i < ring.filled; i++ {
		if s := &ring.samples[i]; distance(s.Mid, t) < distance(best.Mid, t) {
			best = s
		}
	}
	return ProcessReading{Status: best.Status, Used: best.Used, Age: best.Mid - t, Latency: best.End - best.Start, Others: best.Others}
}

// ForgetProcess drops what is known of a process that ended: another process may
// get its PID.
func (c *Correlator) ForgetProcess(pid int) {
	for key := range c.processes.recent {
		if key.pid == pid {
			delete(c.processes.recent, key)
		}
	}
}

func distance(a, b int64) int64 {
	if a > b {
		return a - b
	}
	return b - a
}
