// SPDX-License-Identifier: Apache-2.0

//go:build linux && cgo && !nonvml

package nvsample

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/clock"

	"golang.org/x/sys/unix"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/nvsample/fakenvml"
)

// boundaries makes n boundaries with the given spacing beside a sampler, as a
// tracing session would: it calls kick after each boundary, and check with each
// boundary and its readings. A boundary lies ago() ns back when it is reported.
func boundaries(s *gpu.Sampler, n int, spacing func() time.Duration, ago func() int64, kick func(), check func(at int64, r []gpu.Reading)) {
	c := gpu.NewCorrelator(gpu.CorrelatorOptions{})
	var pending []int64
	var samples []gpu.Sample
	var readings []gpu.Reading
	// Before its first sample a device has nothing to tell of a boundary.
	first := make(map[int]bool)
	for end := time.Now().Add(firstSample); len(first) < len(s.Devices()) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		kick()
		samples = s.Take(samples[:0])
		for _, x := range samples {
			c.Add(x)
			first[x.Device] = true
		}
	}
	for done := 0; done < n; {
		if done+len(pending) < n {
			pending = append(pending, clock.Monotonic()-ago())
			kick()
		}
		time.Sleep(spacing()) // the spacing of the boundaries, not a wait
		samples = s.Take(samples[:0])
		for _, x := range samples {
			c.Add(x)
		}
		for len(pending) > 0 && c.Ready(pending[0], clock.Monotonic(), math.MaxInt64) {
			readings = readings[:0]
			for d := range s.Devices() {
				readings = append(readings, c.At(d, pending[0]))
			}
			check(pending[0], readings)
			pending = pending[1:]
			done++
		}
	}
}

// firstSample is how long the first sample of every device is waited for, which
// nothing announces.
const firstSample = 30 * time.Second

func just() int64 { return 0 }

// The fake's used memory is the time of the read, so the true age is known.
func TestTrueAgeIsReported(t *testing.T) {
	library, c, child := withFake(t, false, 2)
	if !child {
		return
	}
	c.Device[0].Used.Set(fakenvml.Clock)
	c.Device[1].Used.Set(fakenvml.Clock)
	s := gpu.Start(mustOpenFor(t, library), gpu.Options{})
	defer closeSampler(t, s)
	rng := rand.New(rand.NewPCG(3, 4))
	checked := 0
	boundaries(s, 1000, func() time.Duration { return time.Duration(rng.IntN(2_000_000)) }, just, s.Kick, func(at int64, readings []gpu.Reading) {
		for _, r := range readings {
			checked++
			if r.Status != gpu.StatusOK {
				t.Fatalf("boundary at %d: %+v", at, r)
			}
			if trueAge := int64(r.Used.N) - at; distance(trueAge, r.Age) > r.Latency {
				t.Errorf("true age %d ns, reported %d ± %d", trueAge, r.Age, r.Latency)
			}
		}
	})
	if checked != 2000 {
		t.Errorf("%d readings checked", checked)
	}
}

// The figures of docs/gpu.md: one boundary each 10 ms, told to the sampler as it
// happens and, as a tracer that reads its records in batches would, 100 ms late.
func TestAgeAtTenMilliseconds(t *testing.T) {
	library, c, child := withFake(t, false, 1)
	if !child {
		return
	}
	c.Device[0].DelayNS.Set(uint64(readCost))
	src := mustOpen(t, library)
	rng := rand.New(rand.NewPCG(5, 6)) // keeps the boundaries from marching in step with the reads
	spacing := func() time.Duration { return 9*time.Millisecond + time.Duration(rng.IntN(2_000_000)) }
	for _, batch := range []int{1, 10} {
		ago := just
		if batch > 1 {
			// Timers of one process fire together, so the moment of waking
			// is no fair moment to ask about.
			ago = func() int64 { return rng.Int64N(8_000_000) }
		}
		s := gpu.Start(keepOpen{src}, gpu.Options{})
		var ages, latencies []int64
		cpu, n := cpuTime(t), 0
		boundaries(s, 300, spacing, ago, func() {
			if n++; n%batch == 0 {
				s.Kick()
			}
		}, func(_ int64, r []gpu.Reading) {
			ages = append(ages, max(r[0].Age, -r[0].Age))
			latencies = append(latencies, r[0].Latency)
		})
		cpu = cpuTime(t) - cpu
		stats := s.Stats()
		closeSampler(t, s)
		slices.Sort(ages)
		slices.Sort(latencies)
		t.Logf("kick each %d boundaries: median |age| %v, p99 %v; median read %v; of a core: %.2f %% in calls, %.2f %% of this process in all",
			batch, time.Duration(ages[len(ages)/2]), time.Duration(ages[len(ages)*99/100]), time.Duration(latencies[len(latencies)/2]),
			100*float64(stats.Spent())/float64(stats.Elapsed), 100*float64(cpu)/float64(stats.Elapsed))
		if reads := stats.Devices[0].Memory.Calls; reads < 300/uint64(batch) {
			t.Errorf("%d reads for 300 boundaries that far apart", reads)
		}
	}
}

// keepOpen lets several samplers use one source, one after the other.
type keepOpen struct{ gpu.Source }

func (keepOpen) Close() error { return nil }

// cpuTime returns the processor time of this process in ns.
func cpuTime(t *testing.T) int64 {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func TestBudgetWithRealCalls(t *testing.T) {
	library, c, child := withFake(t, false, 1)
	if !child {
		return
	}
	c.Device[0].DelayNS.Set(uint64(readCost))
	s := gpu.Start(mustOpenFor(t, library), gpu.Options{PIDs: []int{1}})
	kicks, corr := 0, gpu.NewCorrelator(gpu.CorrelatorOptions{})
	var samples []gpu.Sample
	for begin := clock.Monotonic(); clock.Monotonic()-begin < int64(time.Second); kicks++ {
		s.Kick()
		for next := clock.Monotonic() + 10_000; clock.Monotonic() < next; { // 100,000 a second
		}
		if kicks%1000 == 0 {
			samples = s.Take(samples[:0])
			for _, x := range samples {
				corr.Add(x)
			}
		}
	}
	stats := s.Stats()
	closeSampler(t, s)
	m := stats.Devices[0].Memory
	t.Logf("%d kicks in %v: %d reads, %.3f %% of a core in calls", kicks, time.Duration(stats.Elapsed), m.Calls, 100*float64(stats.Spent())/float64(stats.Elapsed))
	// By the sampler's own figures: its share, one burst, and the calls that
	// ended over it.
	allowed := gpu.DefaultBudget*float64(stats.Elapsed+int64(gpu.BurstWindow+gpu.DebtWindow)) + float64(m.Longest) + float64(stats.Devices[0].Processes.Longest)
	if float64(stats.Spent()) > allowed || stats.Dropped != 0 || corr.Skipped() != 0 || m.Failed != 0 {
		t.Errorf("spent %v of %v allowed; %d dropped, %d skipped, %d failed", stats.Spent(), int64(allowed), stats.Dropped, corr.Skipped(), m.Failed)
	}
}

// Faults in the library while sampling: the device says so, the other goes on,
// one message, and back.
func TestFaultsInTheLibrary(t *testing.T) {
	library, c, child := withFake(t, false, 2)
	if !child {
		return
	}
	p := &problems{}
	s := gpu.Start(mustOpenFor(t, library), gpu.Options{
		Interval: time.Millisecond, RetryInterval: 5 * time.Millisecond, Deadline: 40 * time.Millisecond, Report: p.add, Budget: 1,
	})
	defer closeSampler(t, s)
	dying := &c.Device[0]
	for code, want := range map[uint64]gpu.Status{3: gpu.StatusNotSupported, 4: gpu.StatusNoPermission, 9: gpu.StatusNoDriver, 15: gpu.StatusLost, 999: gpu.StatusError} {
		dying.MemoryReturn.Set(code)
		awaitStatus(t, s, 0, want)
		awaitStatus(t, s, 1, gpu.StatusOK)
		dying.MemoryReturn.Set(0)
		awaitStatus(t, s, 0, gpu.StatusOK)
		if p.count(0, want, false) != 1 {
			t.Errorf("%v: reported %+v", want, p.list)
		}
	}
	for range 2 {
		dying.HangMemory.Set(1)
		awaitStatus(t, s, 0, gpu.StatusTimeout)
		awaitStatus(t, s, 1, gpu.StatusOK)
		if n := dying.Hanging.Get(); n != 1 {
			t.Errorf("%d calls hang", n)
		}
		dying.HangMemory.Set(0)
		awaitStatus(t, s, 0, gpu.StatusOK)
	}
	if p.count(0, gpu.StatusTimeout, false) != 1 || p.count(1, gpu.StatusTimeout, false) > 0 {
		t.Errorf("reported %+v", p.list)
	}
}

// awaitStatus takes samples until the device has one of that status begun after
// the call; samples never carry a value with another status.
func awaitStatus(t *testing.T, s *gpu.Sampler, device int, want gpu.Status) {
	t.Helper()
	begin := clock.Monotonic()
	var samples []gpu.Sample
	for clock.Monotonic()-begin < int64(30*time.Second) {
		s.Kick()
		samples = s.Take(samples[:0])
		for _, x := range samples {
			if x.Status != gpu.StatusOK && (x.Used.Known || x.Free.Known || x.Total.Known || x.Reserved.Known) {
				t.Fatalf("a value with a failure: %+v", x)
			}
			if x.Device == device && x.Status == want && x.End > begin {
				return
			}
		}
		time.Sleep(100 * time.Microsecond)
	}
	t.Fatalf("device %d never became %v", device, want)
}

// mustOpenFor opens a source that a sampler will close.
func mustOpenFor(t *testing.T, library string) gpu.Source {
	t.Helper()
	src, err := Open(library)
	if err != nil {
		t.Fatal(err)
	}
	return src
}
