// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func okSample(device int, mid int64, used uint64) Sample {
	return Sample{Device: device, Start: mid - 5, Mid: mid, End: mid + 5, Used: Bytes(used), Total: Bytes(1 << 20), Status: StatusOK}
}

func failed(device int, mid int64, s Status) Sample {
	return Sample{Device: device, Start: mid - 5, Mid: mid, End: mid + 5, Status: s}
}

// A device that has not been read yet is waited for as any other.
func TestReadyWaitsForEveryDevice(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{Wait: 1000})
	c.Expect(2)
	c.Add(Sample{Device: 0, Mid: 150})
	if c.Ready(100, 200) {
		t.Error("ready without a sample of device 1")
	}
	c.Add(Sample{Device: 1, Mid: 160})
	if !c.Ready(100, 200) {
		t.Error("not ready although both devices were read")
	}
	c.Expect(3)
	if !c.Ready(100, 1100) {
		t.Error("not ready although the wait is over")
	}
}

func TestNearest(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	if r := c.At(0, 5); r.Status != StatusNoSample || r.Used.Known {
		t.Errorf("without samples: %+v", r)
	}
	for i, mid := range []int64{100, 200, 300} {
		c.Add(okSample(0, mid, uint64(i)))
	}
	c.Add(failed(0, 400, StatusLost))
	for _, tt := range []struct {
		at, age int64
		used    Value
		status  Status
	}{
		{10, 90, Bytes(0), StatusOK},
		{100, 0, Bytes(0), StatusOK},
		{150, -50, Bytes(0), StatusOK}, // equally near: the earlier
		{151, 49, Bytes(1), StatusOK},
		{340, -40, Bytes(2), StatusOK},
		{360, 40, Value{}, StatusLost},
		{9999, -9599, Value{}, StatusLost},
		{210, -10, Bytes(1), StatusOK}, // out of order
	} {
		r := c.At(0, tt.at)
		if r.Age != tt.age || r.Used != tt.used || r.Status != tt.status || r.Latency != 10 {
			t.Errorf("at %d: %+v, want %+v", tt.at, r, tt)
		}
	}
}

func TestReady(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{Wait: 1000})
	c.Add(okSample(0, 100, 1))
	c.Add(okSample(1, 200, 1))
	for _, tt := range []struct {
		at, now int64
		want    bool
	}{{100, 0, true}, {101, 0, false}, {150, 1149, false}, {150, 1150, true}} {
		if got := c.Ready(tt.at, tt.now); got != tt.want {
			t.Errorf("Ready(%d, %d) = %v", tt.at, tt.now, got)
		}
	}
	c.Add(failed(0, 150, StatusTimeout))
	if !c.Ready(190, 0) || c.Ready(201, 0) {
		t.Error("a device that cannot be read must not be waited for, the others must")
	}
}

func TestChangeAndPeak(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	c.Add(okSample(0, 100, 10))
	enter := c.Enter(0, 110, nil)
	if enter[0].Used != Bytes(10) || enter[0].Change.Known || enter[0].Peak.Known {
		t.Errorf("enter: %+v", enter[0])
	}
	for i, used := range []uint64{30, 90, 40, 20} {
		c.Add(okSample(0, 200+int64(i)*100, used))
	}
	c.Add(okSample(0, 540, 1000)) // the first after the exit is not in the peak
	got := c.Exit(0, 510, nil)[0]
	if got.Change != (Delta{N: 10, Known: true}) || got.Peak != Bytes(90) || got.Samples != 4 {
		t.Errorf("exit: %+v", got)
	}
}

func TestUnknownIsNotZero(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	c.Add(okSample(0, 100, 10))
	c.Add(failed(0, 1000, StatusNotSupported))
	c.Enter(0, 110, nil)
	same := c.Exit(0, 120, nil)[0]
	if same.Change.Known || same.Peak.Known || same.Samples != 0 || same.Used != Bytes(10) {
		t.Errorf("enter and exit share a sample: %+v", same)
	}
	c.Enter(0, 130, nil)
	lost := c.Exit(0, 990, nil)[0]
	if lost.Used.Known || lost.Change.Known || lost.Peak.Known || lost.Status != StatusNotSupported {
		t.Errorf("exit without a value: %+v", lost)
	}
	if r := c.Exit(7, 1000, nil)[0]; r.Change.Known || r.Peak.Known {
		t.Errorf("exit of a slot never entered: %+v", r)
	}
}

func TestDeviceFoundDuringScope(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	if r := c.Enter(3, 50, nil); len(r) != 0 {
		t.Errorf("readings without devices: %+v", r)
	}
	c.Add(okSample(0, 100, 10))
	c.Add(okSample(0, 200, 20))
	r := c.Exit(3, 210, nil)[0]
	if r.Change.Known || r.Peak != Bytes(20) || r.Samples != 2 {
		t.Errorf("exit: %+v", r)
	}
}

// model answers as the documentation says, from all samples that ever came.
type model struct {
	samples []Sample
	enters  map[uint32]modelEnter
}

type modelEnter struct {
	t     int64
	used  Value
	index int
}

func (m *model) nearest(t int64) int {
	best := -1
	for i, s := range m.samples {
		if best < 0 || distance(s.Mid, t) < distance(m.samples[best].Mid, t) {
			best = i
		}
	}
	return best
}

func (m *model) reading(t int64) (Reading, int) {
	i := m.nearest(t)
	if i < 0 {
		return Reading{}, i
	}
	s := m.samples[i]
	return Reading{Status: s.Status, Used: s.Used, Total: s.Total, Age: s.Mid - t, Latency: s.End - s.Start}, i
}

func (m *model) exit(slot uint32, t int64) Reading {
	r, i := m.reading(t)
	e, ok := m.enters[slot]
	if !ok {
		return r
	}
	delete(m.enters, slot)
	if e.used.Known && r.Used.Known && e.index != i {
		r.Change = Delta{N: int64(r.Used.N - e.used.N), Known: true}
	}
	for _, s := range m.samples {
		if s.Mid >= e.t && s.Mid <= t && s.Status == StatusOK {
			r.Samples++
			if !r.Peak.Known || s.Used.N > r.Peak.N {
				r.Peak = s.Used
			}
		}
	}
	return r
}

// The correlator against the model: scopes far longer than the history, samples
// that come after their moment was asked for, failures, and usage that rises,
// falls or jumps.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		history := 8 + rng.IntN(60)
		c := NewCorrelator(CorrelatorOptions{History: history})
		m := &model{enters: map[uint32]modelEnter{}}
		clock, used, trend := int64(1000), uint64(1<<30), rng.IntN(3)
		var late []Sample
		for range 2000 {
			clock += 1 + rng.Int64N(20)
			switch rng.IntN(6) {
			case 0, 1, 2:
				switch trend {
				case 0:
					used -= uint64(rng.IntN(100)) // only falls: the worst for maxima
				case 1:
					used += uint64(rng.IntN(100))
				default:
					used = uint64(rng.IntN(1000))
				}
				s := okSample(0, clock, used)
				if rng.IntN(10) == 0 {
					s = failed(0, clock, StatusError)
				}
				if late = append(late, s); rng.IntN(3) > 0 {
					for _, s := range late {
						c.Add(s)
						m.samples = append(m.samples, s)
					}
					late = late[:0]
				}
			case 3:
				slot := uint32(rng.IntN(10))
				got := c.Enter(slot, clock, nil)
				want, i := m.reading(clock)
				m.enters[slot] = modelEnter{clock, want.Used, i}
				if i >= 0 && !cmp.Equal(got[0], want) {
					t.Fatalf("seed %d: enter at %d: %s", seed, clock, cmp.Diff(want, got[0]))
				}
			case 4:
				slot := uint32(rng.IntN(10))
				got := c.Exit(slot, clock, nil)
				if want := m.exit(slot, clock); len(got) > 0 && !cmp.Equal(got[0], want) {
					t.Fatalf("seed %d: exit at %d: %s", seed, clock, cmp.Diff(want, got[0]))
				}
			case 5:
				// A moment of the recent past, out of order.
				if n := len(m.samples); n > 4 {
					at := m.samples[n-1-rng.IntN(4)].Mid - rng.Int64N(3)
					if want, _ := m.reading(at); !cmp.Equal(c.At(0, at), want) {
						t.Fatalf("seed %d: at %d: %s", seed, at, cmp.Diff(want, c.At(0, at)))
					}
				}
			}
		}
		const scopes = 10
		if len(c.devices[0].peaks) > 2*(history+scopes+1) {
			t.Fatalf("seed %d: %d maxima kept", seed, len(c.devices[0].peaks))
		}
		top, _ := c.RunPeak(0)
		want := slices.MaxFunc(m.samples, func(a, b Sample) int { return int(int64(a.Used.N) - int64(b.Used.N)) })
		if top.Used != want.Used {
			t.Fatalf("seed %d: run peak %v, want %v", seed, top.Used, want.Used)
		}
	}
}

// Exits asked out of order by less than the history are as exact.
func TestLateExit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		c := NewCorrelator(CorrelatorOptions{History: 64})
		m := &model{enters: map[uint32]modelEnter{}}
		for i := range int64(40) {
			s := okSample(0, 100+10*i, uint64(rng.IntN(50)))
			c.Add(s)
			m.samples = append(m.samples, s)
		}
		c.At(0, 600)
		enter := 100 + rng.Int64N(300)
		exit := enter + rng.Int64N(200)
		r := c.Enter(1, enter, nil)[0]
		m.enters[1] = modelEnter{enter, r.Used, m.nearest(enter)}
		got, want := c.Exit(1, exit, nil)[0], m.exit(1, exit)
		if !cmp.Equal(got, want) {
			t.Fatalf("[%d, %d]: %s", enter, exit, cmp.Diff(want, got))
		}
	}
}

func TestDisorderIsCounted(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	c.Add(okSample(0, 100, 1))
	c.Add(okSample(0, 50, 2))
	c.Add(okSample(1, 50, 2)) // another device has its own order
	if c.Skipped() != 1 || c.At(0, 50).Age != 50 {
		t.Errorf("skipped %d, %+v", c.Skipped(), c.At(0, 50))
	}
}

func TestProcessAt(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	if r := c.ProcessAt(0, 1, 100); r.Status != StatusNoSample || r.Used.Known {
		t.Errorf("without lists: %+v", r)
	}
	for i := range int64(6) {
		c.AddProcess(ProcessSample{Device: 0, PID: 1, Start: 100*i - 10, Mid: 100 * i, End: 100*i + 10, Used: Bytes(uint64(i)), Status: StatusOK})
	}
	if r := c.ProcessAt(0, 1, 390); r.Used != Bytes(4) || r.Age != 10 || r.Latency != 20 {
		t.Errorf("at 390: %+v", r)
	}
	if r := c.ProcessAt(0, 2, 390); r.Status != StatusNoSample {
		t.Errorf("another process: %+v", r)
	}
	c.ForgetProcess(1)
	if r := c.ProcessAt(0, 1, 390); r.Status != StatusNoSample {
		t.Errorf("forgotten: %+v", r)
	}
	for pid := range 10 * maxProcesses {
		c.AddProcess(ProcessSample{PID: pid})
	}
	if n := len(c.processes.recent); n > maxProcesses {
		t.Errorf("%d processes kept", n)
	}
}

func TestCorrelationAllocatesNothing(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{History: 256})
	dst := make([]Reading, 0, 8)
	clock := int64(0)
	step := func() {
		for d := range 4 {
			c.Add(okSample(d, clock+int64(d), uint64(1<<40-clock))) // falls: the maxima pile up
			c.AddProcess(ProcessSample{Device: d, PID: 1, Mid: clock})
		}
		clock += 100
		dst = c.Enter(uint32(clock/100%16), clock, dst[:0])
		dst = c.Exit(uint32((clock/100+8)%16), clock+10, dst[:0])
		c.Ready(clock, clock)
		c.ProcessAt(1, 1, clock)
	}
	for range 2000 {
		step()
	}
	if n := testing.AllocsPerRun(5000, step); n != 0 {
		t.Errorf("one boundary allocates %v times", n)
	}
}
