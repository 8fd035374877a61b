// SPDX-License-Identifier: Apache-2.0

package gpu

// CallStats counts one kind of call of one device.
type CallStats struct {
	Calls    uint64
	Failed   uint64 // of Calls, those without a value, timeouts included
	Timeouts uint64 // of Failed, those over the deadline
	InCalls  int64  // ns spent in calls that kept the deadline
	Longest  int64  // ns, of all calls
}

func (c *CallStats) add(latency int64, s Status) {
	c.Calls++
	c.Longest = max(c.Longest, latency)
	if s != StatusOK {
		c.Failed++
	}
	if s == StatusTimeout {
		c.Timeouts++
		return
	}
	c.InCalls += latency
}

// DeviceStats counts the calls for one device.
type DeviceStats struct {
	Device    Device
	Memory    CallStats
	Processes CallStats
}

// Stats is what a sampler did since its start.
type Stats struct {
	Devices []DeviceStats
	Elapsed int64  // ns since Start
	Dropped uint64 // samples that nobody took in time
}

// Spent returns the time in calls of all devices, in ns.
func (s Stats) Spent() int64 {
	var sum int64
	for _, d := range s.Devices {
		sum += d.Memory.InCalls + d.Processes.InCalls
	}
	return sum
}

// Stats returns the figures so far. It allocates; for summaries.
func (s *Sampler) Stats() Stats {
	stats := Stats{
		Elapsed: s.o.Now() - s.began,
		Dropped: s.samples.droppedCount() + s.lists.droppedCount(),
	}
	for _, r := range s.all() {
		stats.Devices = append(stats.Devices, DeviceStats{Device: r.device, Memory: r.memory.snapshot(), Processes: r.list.snapshot()})
	}
	return stats
}

func (c *call) snapshot() CallStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}
