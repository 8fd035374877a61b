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
}

// ProcessReading is what is known of one process's memory on a device at a
// moment.
type ProcessReading struct {
	Status Status
	Used   Value // unknown unless Status is StatusOK
	// Age and Latency as in [Reading]; lists are read about once a second,
	// so ages are of that order.
	Age, Latency int64
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
		ring = new(processRing)
		h.recent[key] = ring
	}
	ring.samples[ring.next] = s
	ring.next = (ring.next + 1) % processDepth
	ring.filled = min(ring.filled+1, processDepth)
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
	return ProcessReading{Status: best.Status, Used: best.Used, Age: best.Mid - t, Latency: best.End - best.Start}
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
