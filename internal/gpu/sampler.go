// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"
)

// Options of a [Sampler]. Zero fields take the defaults.
type Options struct {
	// Budget is the share of one core that may be spent in calls into the
	// driver, above 0 and at most 1. Three quarters go to memory reads and a
	// quarter to process lists, shared evenly by the devices.
	Budget float64
	// Interval is the time between reads while no boundary happens.
	Interval time.Duration
	// ActiveInterval is the time between reads during the quarter of a
	// second after a [Sampler.Kick], if the budget allows: it bounds the age
	// of samples where kicks come later than their boundaries.
	ActiveInterval time.Duration
	// ProcessInterval is the least time between two reads of a device's
	// process list; negative: never read it.
	ProcessInterval time.Duration
	// Deadline is how long a call may take before its device is marked with
	// StatusTimeout.
	Deadline time.Duration
	// RetryInterval is the time between attempts to open the source, and to
	// read a device that is lost or does not answer the question.
	RetryInterval time.Duration
	// Queue is how many samples wait for Take before the oldest are dropped.
	Queue int
	// PIDs are as in [Sampler.SetPIDs].
	PIDs []int
	// Report is called once per device and kind of problem, one call at a
	// time, from goroutines of the sampler; it must return soon and must not
	// call the sampler. nil: problems show in statuses only.
	Report func(Problem)
	// Now replaces the clock in tests.
	Now func() int64
}

func (o Options) withDefaults() Options {
	if o.Budget <= 0 {
		o.Budget = DefaultBudget
	}
	o.Budget = min(o.Budget, 1)
	setDefault(&o.Interval, DefaultInterval)
	setDefault(&o.ActiveInterval, DefaultActiveInterval)
	setDefault(&o.Deadline, DefaultDeadline)
	setDefault(&o.RetryInterval, DefaultRetryInterval)
	if o.ProcessInterval == 0 {
		o.ProcessInterval = DefaultProcessInterval
	}
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.Now == nil {
		o.Now = clock.Monotonic
	}
	return o
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

const (
	memoryShare  = 0.75 // of Budget
	processShare = 0.25
)

// Sampler reads devices in the background. Its methods never wait for a device;
// all but Take and TakeProcesses are safe for concurrent use.
type Sampler struct {
	o       Options
	samples queue[Sample]
	lists   queue[ProcessSample]
	wishes  wishes
	report  reporter
	began   int64

	readers atomic.Pointer[[]*reader] // nil until the source is open
	info    atomic.Pointer[Info]
	pids    atomic.Pointer[[]int]
	usage   sync.Mutex // serialises reconsider

	opening atomic.Int64 // when the attempt to open now under way began, 0: none
	opened  chan struct{}
	openErr error // set before opened is closed

	source   Source // set before the readers start
	running  sync.WaitGroup
	stop     chan struct{}
	stopOnce sync.Once
	ended    chan struct{}
	closeErr error // set before ended is closed
}

// Start reads the devices of src until Close, which closes src too.
func Start(src Source, o Options) *Sampler {
	s := newSampler(o)
	s.begin(src)
	close(s.opened)
	s.running.Go(s.supervise)
	return s
}

// StartOpening is Start with a source that is opened in the background, since
// opening can fail or hang: when it fails for a reason that may pass, it is
// tried again after each RetryInterval.
func StartOpening(open func() (Source, error), o Options) *Sampler {
	s := newSampler(o)
	s.opening.Store(s.o.Now())
	s.running.Go(func() { s.open(open) })
	s.running.Go(s.supervise)
	return s
}

func newSampler(o Options) *Sampler {
	o = o.withDefaults()
	s := &Sampler{o: o, stop: make(chan struct{}), opened: make(chan struct{}), ended: make(chan struct{}), began: o.Now()}
	s.samples.limit, s.lists.limit = o.Queue, o.Queue
	s.report.fn = o.Report
	s.SetPIDs(o.PIDs)
	return s
}

// open tries until a source is open, trying again is pointless, or the sampler is
// closed.
func (s *Sampler) open(open func() (Source, error)) {
	first := sync.OnceFunc(func() { close(s.opened) })
	for {
		src, err := open()
		s.opening.Store(0)
		if err == nil {
			s.report.recovered(-1, "", "library")
			s.begin(src)
			first()
			return
		}
		s.report.failed(-1, "", "library", err)
		select {
		case <-s.opened:
		default:
			s.openErr = err
			first()
		}
		if !StatusOf(err).opensLater() || !s.sleep(s.o.RetryInterval) {
			return
		}
		s.opening.Store(s.o.Now())
	}
}

// sleep returns false when the sampler was closed meanwhile.
func (s *Sampler) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stop:
		return false
	}
}

// begin starts the goroutines of every device.
func (s *Sampler) begin(src Source) {
	s.source = src
	info, devices := src.Info(), src.Devices()
	readers := make([]*reader, len(devices))
	for i, d := range devices {
		readers[i] = newReader(s, d, len(devices))
	}
	s.info.Store(&info)
	s.readers.Store(&readers)
	for _, r := range readers {
		s.running.Go(r.readMemory)
		if s.o.ProcessInterval > 0 {
			s.running.Go(r.readProcesses)
		}
	}
}

// all returns the readers, none before the source is open.
func (s *Sampler) all() []*reader {
	if p := s.readers.Load(); p != nil {
		return *p
	}
	return nil
}

// Kick says that a boundary has just happened: the devices in use are read as
// soon as the budget allows, once for all pending kicks. It does not block or
// allocate.
func (s *Sampler) Kick() {
	for _, r := range s.all() {
		r.kick()
	}
}

// Expect says that a boundary is expected soon after t: the devices in use are read
// then, if the budget allows. It does not block, and allocates once.
func (s *Sampler) Expect(t int64) {
	now := s.o.Now()
	if t <= now {
		return
	}
	s.wishes.add(t, now)
	for _, r := range s.all() {
		if t < r.due.Load() && !r.unused.Load() {
			signal(r.wake)
		}
	}
}

// SetPIDs says which processes are traced, by their PIDs in the initial PID
// namespace. Once a device's process list shows one of them, only devices that do
// are read; until then, and where lists say nothing, all are. With no PIDs, lists
// are not read at all.
func (s *Sampler) SetPIDs(pids []int) {
	if old := s.pids.Load(); old != nil && slices.Equal(pids, *old) {
		return
	}
	pids = slices.Clone(pids)
	s.pids.Store(&pids)
	for _, r := range s.all() {
		signal(r.listNow)
	}
}

// Opened waits until the first attempt to open the source has ended and returns
// its error; when the context ends before, one of StatusTimeout.
func (s *Sampler) Opened(ctx context.Context) error {
	select {
	case <-s.opened:
		return s.openErr
	case <-ctx.Done():
		return &Error{Op: "open the NVML library", Status: StatusTimeout, Detail: "it is slow or hangs: check dmesg"}
	}
}

// Devices returns the devices that are read, nil while no source is open.
func (s *Sampler) Devices() []Device {
	readers := s.all()
	if readers == nil {
		return nil
	}
	devices := make([]Device, len(readers))
	for i, r := range readers {
		devices[i] = r.device
	}
	return devices
}

// Info describes the open source; zero while none is open.
func (s *Sampler) Info() Info {
	if info := s.info.Load(); info != nil {
		return *info
	}
	return Info{}
}

// Close stops reading and closes the source. When a call hangs it gives up after
// the Deadline with an error: the hanging goroutine ends when its call returns,
// and the source is closed then. Safe to call again.
func (s *Sampler) Close() error {
	s.stopOnce.Do(func() {
		close(s.stop)
		go s.finish()
	})
	timer := time.NewTimer(s.o.Deadline)
	defer timer.Stop()
	select {
	case <-s.ended:
		return s.closeErr
	case <-timer.C:
		return &Error{Op: "stop reading GPUs", Status: StatusTimeout, Detail: "a call still hangs"}
	}
}

// finish closes the source after its last call has returned.
func (s *Sampler) finish() {
	s.running.Wait()
	if s.source != nil {
		s.closeErr = s.source.Close()
	}
	close(s.ended)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
