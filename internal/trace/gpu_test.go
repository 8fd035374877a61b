// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/phasetrace/phasetrace/internal/fixture"
	"github.com/phasetrace/phasetrace/internal/nvsample"
	"github.com/phasetrace/phasetrace/internal/recorder"
)

// clockDevice is a source whose device has as many bytes in use as the
// monotonic clock has nanoseconds: a sample tells when it was really read.
func clockDevice(t *testing.T, o nvsample.Options) *nvsample.Sampler {
	t.Helper()
	fake := nvsample.NewFake(1)
	fake.SetMemory(0, func() (nvsample.Memory, error) {
		m := nvsample.FakeMemory(0)
		m.Used = nvsample.Bytes(uint64(nvsample.Now()))
		return m, nil
	})
	s := nvsample.Start(fake, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// tracePace traces the fixture pace and returns its boundaries and summary.
func tracePace(t *testing.T, count, low, high int, o Options) ([]Boundary, *Summary) {
	t.Helper()
	p := fixture.Start(t, fixture.Build(t, "pace.c"), strconv.Itoa(count), strconv.Itoa(low), strconv.Itoa(high))
	p.Expect("ready")
	o.PIDs = []int{p.Pid()}
	tr := attach(t, o)
	p.WriteLine("go")
	p.ReadAll()
	p.WaitOK()
	sum := tr.wait()
	if len(tr.boundaries) != 2*count {
		t.Fatalf("%d boundaries, want %d", len(tr.boundaries), 2*count)
	}
	return tr.boundaries, sum
}

// The age that a boundary reports is the true age of its sample, within the
// reported latency of the read.
func TestSampleAge(t *testing.T) {
	boundaries, sum := tracePace(t, 500, 100, 4000, Options{GPU: clockDevice(t, nvsample.Options{})})
	var ages []int64
	for i := range boundaries {
		b := &boundaries[i]
		if len(b.GPU) != 1 {
			t.Fatalf("boundary %d has %d readings, want 1", i, len(b.GPU))
		}
		r := &b.GPU[0]
		if r.Status != nvsample.StatusOK || !r.Used.Known {
			t.Fatalf("boundary %d: status %v", i, r.Status)
		}
		truth := int64(r.Used.N) - b.Time
		if d := truth - r.Age; d > r.Latency || -d > r.Latency {
			t.Fatalf("boundary %d: age %d ns reported, %d true: off by more than the latency %d", i, r.Age, truth, r.Latency)
		}
		ages = append(ages, max(r.Age, -r.Age))
		if b.Action == recorder.Exit && r.Samples > 0 && (!r.Peak.Known || int64(r.Peak.N) > b.Time+r.Latency) {
			t.Errorf("boundary %d: peak %v was read after the exit at %d", i, r.Peak, b.Time)
		}
	}
	slices.Sort(ages)
	t.Logf("%d boundaries, %d samples; age: median %v, 99 %% %v, worst %v", len(ages), sum.GPUSamples,
		time.Duration(ages[len(ages)/2]), time.Duration(ages[len(ages)*99/100]), time.Duration(ages[len(ages)-1]))
	if len(sum.RunPeak) != 1 || sum.RunPeak[0].Phase.Certainty == recorder.NoPhase && sum.GPUSamples == 0 {
		t.Errorf("run peak %+v", sum.RunPeak)
	}
}

// At one boundary in 10 ms samples follow boundaries closely; the figure is
// logged, what is asserted is that no boundary is without one.
func TestSampleAgeAtTenMilliseconds(t *testing.T) {
	boundaries, _ := tracePace(t, 100, 10000, 10000, Options{GPU: clockDevice(t, nvsample.Options{})})
	var ages []int64
	for i := range boundaries {
		if boundaries[i].GPU[0].Status != nvsample.StatusOK {
			t.Fatalf("boundary %d: %v", i, boundaries[i].GPU[0].Status)
		}
		ages = append(ages, max(boundaries[i].GPU[0].Age, -boundaries[i].GPU[0].Age))
	}
	slices.Sort(ages)
	t.Logf("median age %v", time.Duration(ages[len(ages)/2]))
}

// A device that dies or never answers leaves the phases alone, and its values
// unknown rather than 0.
func TestDeviceDies(t *testing.T) {
	fake := nvsample.NewFake(2)
	s := nvsample.Start(fake, nvsample.Options{Deadline: 50 * time.Millisecond, RetryInterval: 50 * time.Millisecond})
	defer s.Close()
	fake.SetStatus(1, nvsample.StatusLost)
	boundaries, sum := tracePace(t, 50, 1000, 3000, Options{GPU: s})
	for i := range boundaries {
		for _, r := range boundaries[i].GPU {
			if r.Status == nvsample.StatusOK != r.Used.Known {
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
