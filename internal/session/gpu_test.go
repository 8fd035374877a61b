// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/stream"

	"github.com/phasetrace/phasetrace/internal/clock"
	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// clockDevice is a source whose device has as many bytes in use as the
// monotonic clock has nanoseconds: a sample tells when it was really read.
func clockDevice(t *testing.T, o gpu.Options) *gpu.Sampler {
	t.Helper()
	fake := gpu.NewFake(1)
	fake.SetMemory(0, func() (gpu.Memory, error) {
		m := gpu.FakeMemory(0)
		m.Used = gpu.Bytes(uint64(clock.Monotonic()))
		return m, nil
	})
	s := gpu.Start(fake, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// tracePace traces the fixture pace and returns its boundaries and summary.
func tracePace(t *testing.T, count, low, high int, o Config) ([]stream.Boundary, *stream.Summary) {
	t.Helper()
	p := fixture.Start(t, fixture.Build(t, "pace.c"), strconv.Itoa(count), strconv.Itoa(low), strconv.Itoa(high))
	p.Expect("ready")
	tr := attach(t, []int{p.Pid()}, o)
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if len(tr.boundaries) != 2*count {
		t.Fatalf("%d boundaries, want %d", len(tr.boundaries), 2*count)
	}
	checkSamplePhases(t, tr.samples, tr.boundaries)
	return tr.boundaries, sum
}

// checkSamplePhases wants every sample to name the phase that was open then.
func checkSamplePhases(t *testing.T, samples []stream.Sample, boundaries []stream.Boundary) {
	t.Helper()
	inside := 0
	for _, s := range samples {
		open := 0 // phases of the one thread there is
		for i := range boundaries {
			if boundaries[i].Time > s.Mid {
				break
			}
			open++
			if boundaries[i].Action == recorder.Exit {
				open -= 2
			}
		}
		if got := s.Phase.Certainty != recorder.NoPhase; got != (open > 0) {
			t.Fatalf("sample at %d: certainty %v with %d phases open", s.Mid, s.Phase.Certainty, open)
		}
		inside += open
	}
	if inside == 0 {
		t.Errorf("none of %d samples lies inside a phase", len(samples))
	}
}

// The age that a boundary reports is the true age of its sample, within the
// reported latency of the read.
func TestSampleAge(t *testing.T) {
	boundaries, sum := tracePace(t, 500, 100, 4000, Config{GPU: clockDevice(t, gpu.Options{})})
	var ages []int64
	var slowest int64 // read
	for i := range boundaries {
		slowest = max(slowest, boundaries[i].GPU[0].Latency)
	}
	for i := range boundaries {
		b := &boundaries[i]
		if len(b.GPU) != 1 {
			t.Fatalf("boundary %d has %d readings, want 1", i, len(b.GPU))
		}
		r := &b.GPU[0]
		if r.Status != gpu.StatusOK || !r.Used.Known {
			t.Fatalf("boundary %d: status %v", i, r.Status)
		}
		truth := int64(r.Used.N) - b.Time
		if d := truth - r.Age; d > r.Latency || -d > r.Latency {
			t.Fatalf("boundary %d: age %d ns reported, %d true: off by more than the latency %d", i, r.Age, truth, r.Latency)
		}
		ages = append(ages, max(r.Age, -r.Age))
		if b.Action == recorder.Exit && r.Samples > 0 && (!r.Peak.Known || int64(r.Peak.N) > b.Time+slowest) {
			t.Errorf("boundary %d: peak %v was read after the exit at %d", i, r.Peak, b.Time)
		}
	}
	slices.Sort(ages)
	t.Logf("%d boundaries, %d samples; age: median %v, 99 %% %v, worst %v", len(ages), sum.GPUSamples,
		time.Duration(ages[len(ages)/2]), time.Duration(ages[len(ages)*99/100]), time.Duration(ages[len(ages)-1]))
	if len(sum.RunPeak) != 1 || sum.GPUSamples == 0 {
		t.Errorf("run peak %+v", sum.RunPeak)
	}
}

// At one boundary in 10 ms samples follow boundaries closely; the figure is
// logged, what is asserted is that no boundary is without one.
func TestSampleAgeAtTenMilliseconds(t *testing.T) {
	boundaries, _ := tracePace(t, 100, 10000, 10000, Config{GPU: clockDevice(t, gpu.Options{})})
	var ages []int64
	for i := range boundaries {
		if boundaries[i].GPU[0].Status != gpu.StatusOK {
			t.Fatalf("boundary %d: %v", i, boundaries[i].GPU[0].Status)
		}
		ages = append(ages, max(boundaries[i].GPU[0].Age, -boundaries[i].GPU[0].Age))
	}
	slices.Sort(ages)
	t.Logf("median age %v", time.Duration(ages[len(ages)/2]))
}

// A device that dies leaves the phases alone, and its values unknown rather than
// 0.
func TestDeviceDies(t *testing.T) {
	fake := gpu.NewFake(2)
	s := gpu.Start(fake, gpu.Options{Deadline: 50 * time.Millisecond, RetryInterval: 50 * time.Millisecond})
	defer s.Close()
	fake.SetStatus(1, gpu.StatusLost)
	boundaries, sum := tracePace(t, 50, 1000, 3000, Config{GPU: s})
	for i := range boundaries {
		if len(boundaries[i].GPU) != 2 {
			t.Fatalf("boundary %d has %d readings, want one of each device", i, len(boundaries[i].GPU))
		}
		for _, r := range boundaries[i].GPU {
			if r.Status == gpu.StatusOK != r.Used.Known {
				t.Fatalf("boundary %d device %d: status %v with used %+v", i, r.Device, r.Status, r.Used)
			}
			if r.Device == 1 && r.Used.Known {
				t.Fatalf("boundary %d: a lost device has a value", i)
			}
		}
	}
	if sum.ViolationTotal+sum.Lost != 0 {
		t.Errorf("violations %d, lost %d", sum.ViolationTotal, sum.Lost)
	}
}

// At far more boundaries than samples the sampler stays inside its budget,
// nothing is lost, and every reported age is the true one.
func TestSamplerUnderLoad(t *testing.T) {
	sampler := clockDevice(t, gpu.Options{})
	p := fixture.Start(t, fixture.Build(t, "spin.c"), "1", "100000", "inline")
	p.Expect("ready")
	// The ring holds the whole run: what is lost would be the sampler's doing.
	tr := attach(t, []int{p.Pid()}, Config{GPU: sampler, RingBytes: 64 << 20})
	p.WriteLine("go")
	p.CloseStdin()
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if sum.Lost != 0 || sum.Boundaries != 200000 || len(tr.boundaries) != 200000 {
		t.Fatalf("%d boundaries, %d lost; want 200000 and none; notes %v", sum.Boundaries, sum.Lost, sum.Notes)
	}
	known := 0
	var latencies []int64
	for i := range tr.boundaries {
		b := &tr.boundaries[i]
		r := &b.GPU[0]
		if r.Status != gpu.StatusOK {
			continue
		}
		known++
		latencies = append(latencies, r.Latency)
		if d := int64(r.Used.N) - b.Time - r.Age; d > r.Latency || -d > r.Latency {
			t.Fatalf("boundary %d: age %d ns reported, off by %d with a latency of %d", i, r.Age, d, r.Latency)
		}
	}
	if known == 0 {
		t.Fatal("no boundary has a sample")
	}
	st := sampler.Stats()
	share := float64(st.Spent()) / float64(st.Elapsed)
	first, last := tr.boundaries[0].Time, tr.boundaries[len(tr.boundaries)-1].Time
	t.Logf("%.0f boundaries a second, %d samples, %.2f %% of a core in calls, %d of 200000 boundaries with a sample",
		200000/time.Duration(last-first).Seconds(), sum.GPUSamples, 100*share, known)
	// What the pacer promises, on a busy machine too: see gpu.BurstWindow.
	allowed := gpu.DefaultBudget*float64(st.Elapsed+int64(gpu.BurstWindow+gpu.DebtWindow)) + float64(st.Devices[0].Memory.Longest+st.Devices[0].Processes.Longest)
	if spent := float64(st.Spent()); spent > allowed {
		t.Errorf("%.1f ms spent in calls, want at most %.1f", spent/1e6, allowed/1e6)
	}
	// A call that was interrupted looks long; what calls took of themselves is theirs.
	slices.Sort(latencies)
	own := float64(latencies[len(latencies)/2]) * float64(st.Devices[0].Memory.Calls+st.Devices[0].Processes.Calls) / float64(st.Elapsed)
	if own > 2*gpu.DefaultBudget {
		t.Errorf("%.2f %% of a core spent in calls, by their median, want at most %.0f %%", 100*own, 100*gpu.DefaultBudget)
	}
}
