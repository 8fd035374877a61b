// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// reader reads one device on two goroutines: one for memory, one for process
// lists. A call that hangs blocks its own goroutine and nothing else.
type reader struct {
	s      *Sampler
	device Device
	source Source
	pacer  *pacer // of the memory goroutine

	kicked  atomic.Bool  // a boundary waits for a read
	due     atomic.Int64 // when the next read is due, as of when the memory goroutine began to wait
	wake    chan struct{}
	listNow chan struct{}
	unused  atomic.Bool // other devices are used by the target, this one is not

	memory, list call
	listShare    float64 // share of a core for process lists

	usage struct { // guarded by Sampler.usage
		told, listed bool // the list could be read; it contains a target
	}
}

// call is a kind of call of one device, and the one under way.
type call struct {
	mu    sync.Mutex // held also while what came of the call is queued
	start int64      // 0: none under way
	late  bool       // over its deadline, and reported
	stats CallStats
}

func newReader(s *Sampler, d Device, devices int) *reader {
	return &reader{
		s: s, device: d, source: s.source,
		pacer:     newPacer(s.o.Budget*memoryShare/float64(devices), s.o, s.o.Now()),
		listShare: s.o.Budget * processShare / float64(devices),
		wake:      make(chan struct{}, 1),
		listNow:   make(chan struct{}, 1),
	}
}

// kick asks for a read. Only the first kick after a read costs more than a look
// at a flag.
func (r *reader) kick() {
	if r.kicked.Load() || r.unused.Load() || r.kicked.Swap(true) {
		return
	}
	signal(r.wake)
}

// readMemory is the memory goroutine.
func (r *reader) readMemory() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	wasUnused := false
	for {
		now := r.s.o.Now()
		due := int64(never)
		unused := r.unused.Load()
		if !unused {
			due = r.pacer.due(now, r.kicked.Load(), r.s.wishes.next(r.pacer.last))
		} else if !wasUnused {
			r.put(Sample{Device: r.device.ID, Start: now, Mid: now, End: now, Status: StatusNotUsed})
		}
		wasUnused = unused
		r.due.Store(due)
		if due > now {
			timer.Reset(time.Duration(due - now))
			select {
			case <-timer.C:
			case <-r.wake:
			case <-r.s.stop:
				return
			}
			continue
		}
		select {
		case <-r.s.stop:
			return
		default:
			r.readOnce()
		}
	}
}

// readOnce makes one memory read and queues its sample.
func (r *reader) readOnce() {
	r.kicked.Store(false) // boundaries from here on need another read
	start := r.memory.begin(r.s.o.Now)
	m, err := r.source.Memory(r.device.ID)
	end := r.s.o.Now()
	sample := Sample{Device: r.device.ID, Start: start, Mid: middle(start, end), End: end, Status: StatusOf(err)}
	if err == nil {
		sample.Used, sample.Free, sample.Total, sample.Reserved = m.Used, m.Free, m.Total, m.Reserved
	}
	if end-start > int64(r.s.o.Deadline) {
		// Nobody knows which moment the value belongs to, and the supervisor may
		// have queued later times already.
		sample = Sample{Device: r.device.ID, Start: start, Mid: end, End: end, Status: StatusTimeout}
		err = timeoutError("read memory", r.device)
	}
	r.memory.finish(end, sample.Status, func() { r.put(sample) })
	r.pacer.done(start, end, sample.Status)
	r.tell("memory", err)
}

func (r *reader) put(s Sample) { r.s.samples.put(s) }

func (r *reader) tell(kind string, err error) {
	if err != nil {
		r.s.report.failed(r.device.ID, r.device.UUID, kind, err)
		return
	}
	r.s.report.recovered(r.device.ID, r.device.UUID, kind)
}

// readProcesses is the goroutine of the process list.
func (r *reader) readProcesses() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	affordable := int64(math.MinInt64) // when the budget allows another list
	for {
		select {
		case <-timer.C:
		case <-r.listNow:
			// New processes may be looked up sooner, but not beyond the budget.
			if now := r.s.o.Now(); now < affordable {
				timer.Reset(time.Duration(affordable - now))
				continue
			}
		case <-r.s.stop:
			return
		}
		wait := r.s.o.ProcessInterval
		if pids := *r.s.pids.Load(); len(pids) > 0 {
			price := time.Duration(float64(r.listOnce(pids)) / r.listShare)
			affordable = r.s.o.Now() + int64(price)
			wait = max(wait, price)
		}
		timer.Reset(wait)
	}
}

// listOnce reads the process list, queues what it says about the targets, and
// returns what it cost.
func (r *reader) listOnce(pids []int) time.Duration {
	start := r.list.begin(r.s.o.Now)
	processes, err := r.source.Processes(r.device.ID)
	end := r.s.o.Now()
	status := StatusOf(err)
	if end-start > int64(r.s.o.Deadline) {
		err, status = timeoutError("read the process list", r.device), StatusTimeout
	}
	found := false
	r.list.finish(end, status, func() {
		for _, pid := range pids {
			p := ProcessSample{Device: r.device.ID, PID: pid, Start: start, Mid: middle(start, end), End: end, Status: status}
			if status == StatusOK {
				found = p.fill(processes) || found
			} else if status == StatusTimeout {
				p.Mid = end
			}
			r.s.lists.put(p)
		}
	})
	r.tell("processes", err)
	r.s.reconsider(r, err == nil, found)
	// A call over its deadline burned no core and held the driver: it counts too.
	return min(time.Duration(end-start), maxCharge)
}

// fill takes the process's memory, and that of others, from a list; false when
// it is not in there.
func (p *ProcessSample) fill(list []Process) bool {
	p.OthersUsed = Bytes(0)
	for _, x := range list {
		if x.PID == p.PID {
			continue
		}
		p.Others++
		p.OthersUsed = p.OthersUsed.plus(x.Used)
	}
	i := slices.IndexFunc(list, func(x Process) bool { return x.PID == p.PID })
	switch {
	case i < 0:
		p.Status = StatusNotListed
	case !list[i].Used.Known:
		p.Status = StatusNotAvailable
	default:
		p.Used = list[i].Used
	}
	return i >= 0
}

// reconsider decides which devices are read, after a new list of r.
func (s *Sampler) reconsider(r *reader, told, listed bool) {
	s.usage.Lock()
	defer s.usage.Unlock()
	r.usage.told, r.usage.listed = told, listed
	anyListed := slices.ContainsFunc(s.all(), func(r *reader) bool { return r.usage.listed })
	for _, r := range s.all() {
		unused := anyListed && r.usage.told && !r.usage.listed
		if r.unused.Swap(unused) != unused {
			signal(r.wake)
		}
	}
}

func (c *call) begin(now func() int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start = now()
	return c.start
}

// finish ends the call and queues its result, in one step for the supervisor.
func (c *call) finish(end int64, s Status, queue func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.add(end-c.start, s)
	c.start, c.late = 0, false
	queue()
}
