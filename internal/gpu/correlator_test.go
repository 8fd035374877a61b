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
	if c.Ready(100, 200, 1000) {
		t.Error("ready without a sample of device 1")
	}
	c.Add(Sample{Device: 1, Mid: 160})
	if !c.Ready(100, 200, 1000) {
		t.Error("not ready although both devices were read")
	}
	c.Expect(3)
	if !c.Ready(100, 1100, 0) {
		t.Error("not ready although the wait is over")
	}
}

// A figure is that of the last read before the moment; the reads on both sides, and
// one under way, say what else it may have been.
func TestAround(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	if r := c.At(0, 5); r.Status != StatusNoSample || r.Used.Known || r.Doubt != 0 {
		t.Errorf("without samples: %+v", r)
	}
	for i, mid := range []int64{100, 200, 300, 400} {
		c.Add(okSample(0, mid, []uint64{7, 7, 9, 8}[i]))
	}
	c.Add(failed(0, 500, StatusLost))
	ok := func(used uint64, age int64) Reading {
		return Reading{
			Status: StatusOK, Used: Bytes(used), Total: Bytes(1 << 20), Age: age, Latency: 10, Low: used, High: used,
		}
	}
	both := func(r Reading, after uint64, age int64, low, high uint64, d Doubt) Reading {
		r.After, r.AfterAge, r.Low, r.High, r.Doubt = Bytes(after), age, low, high, d
		return r
	}
	alone := func(r Reading, d Doubt) Reading {
		r.Doubt = d
		return r
	}
	for _, tt := range []struct {
		at   int64
		want Reading
	}{
		{10, both(ok(7, 90), 7, 90, 7, 7, DoubtOneSided)},
		{100, both(ok(7, 100), 7, 100, 7, 7, DoubtOneSided)}, // the first is under way
		{105, both(ok(7, -5), 7, 95, 7, 7, 0)},
		{195, both(ok(7, -95), 7, 5, 7, 7, 0)},
		{200, both(ok(7, -100), 9, 100, 7, 9, DoubtMoved)}, // the second is under way
		{300, both(ok(7, -100), 8, 100, 7, 9, DoubtMoved)}, // so is the third, which says more than both
		{210, both(ok(7, -10), 9, 90, 7, 9, DoubtMoved)},
		{410, alone(ok(8, -10), DoubtOneSided)}, // what comes next is no value
		{505, Reading{Status: StatusLost, Age: -5, Latency: 10}},
		{9999, Reading{Status: StatusLost, Age: -9499, Latency: 10}},
		{210, both(ok(7, -10), 9, 90, 7, 9, DoubtMoved)}, // out of order
	} {
		if d := cmp.Diff(tt.want, c.At(0, tt.at)); d != "" {
			t.Errorf("at %d: %s", tt.at, d)
		}
	}
}

// A device whose only read is under way, and one that was not in use before.
func TestNothingBefore(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	c.Add(okSample(0, 100, 7))
	if r := c.At(0, 101); r.Used != Bytes(7) || r.Doubt != DoubtOneSided || r.After.Known {
		t.Errorf("under way: %+v", r)
	}
	c.Add(failed(1, 100, StatusNotUsed))
	if r := c.At(1, 200); r.Status != StatusNotUsed || r.Used.Known {
		t.Errorf("not in use: %+v", r)
	}
	c.Add(okSample(1, 300, 8))
	if r := c.At(1, 200); r.Used != Bytes(8) || r.Age != 100 || r.Doubt != DoubtOneSided {
		t.Errorf("in use soon after: %+v", r)
	}
}

// witness tells of phases and threads between any two times that enclose one of its
// own.
type witness struct{ phases, threads int64 }

func (w witness) Between(from, to int64) (d Doubt) {
	if from <= w.phases && w.phases <= to {
		d |= DoubtPhases
	}
	return d | w.Since(from)
}

func (w witness) Since(from int64) Doubt {
	if from <= w.threads {
		return DoubtThreads
	}
	return 0
}

// Reads that agree prove nothing where phases came and went between them, and a
// change that others may have made is not the scope's.
func TestWitness(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{Witness: witness{phases: 250, threads: 450}})
	for mid := int64(100); mid <= 700; mid += 100 {
		c.Add(okSample(0, mid, 5))
	}
	for _, tt := range []struct {
		enter, exit   int64
		in, out, both Doubt
	}{
		{500, 650, DoubtThreads, 0, DoubtThreads}, // its reads began at 395
		{550, 650, 0, 0, 0},
		{220, 280, DoubtPhases | DoubtThreads, DoubtPhases | DoubtThreads, 0}, // no change: it has no read of its own
		{150, 650, DoubtThreads, 0, DoubtThreads},
		{220, 650, DoubtPhases | DoubtThreads, 0, DoubtPhases | DoubtThreads},
	} {
		in, out := c.Enter(0, tt.enter, nil)[0], Reading{}
		out = c.Exit(0, tt.exit, nil)[0]
		if in.Doubt != tt.in || out.Doubt != tt.out || out.ChangeDoubt != tt.both {
			t.Errorf("%d to %d: doubts %v, %v and %v; want %v, %v and %v",
				tt.enter, tt.exit, in.Doubt, out.Doubt, out.ChangeDoubt, tt.in, tt.out, tt.both)
		}
	}
}

func TestDoubtWords(t *testing.T) {
	for d := range Doubt(1 << len(doubtWords)) {
		var back Doubt
		for word := range d.All {
			back |= DoubtOf(word)
		}
		if back != d {
			t.Errorf("%b came back as %b", d, back)
		}
	}
	if DoubtOf("") != 0 || DoubtOf("moved") != 0 {
		t.Error("a word that is none has a reason")
	}
}

func TestReady(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{Wait: 1000})
	c.Add(okSample(0, 100, 1))
	c.Add(okSample(1, 200, 1))
	for _, tt := range []struct {
		at, now, known int64
		want           bool
	}{
		{95, 0, 205, true},
		{95, 0, 204, false}, // nobody knows yet what happened until the read ended
		{96, 0, 999, false},
		{150, 1149, 999, false},
		{150, 1150, 0, true},
	} {
		if got := c.Ready(tt.at, tt.now, tt.known); got != tt.want {
			t.Errorf("Ready(%d, %d, %d) = %v", tt.at, tt.now, tt.known, got)
		}
	}
	if got := c.Until(95); got != 205 {
		t.Errorf("what happened must be known until %d, want 205", got)
	}
	c.Add(failed(0, 150, StatusTimeout))
	if !c.Ready(190, 0, 205) || c.Ready(201, 0, 999) {
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
	if got.Low != 20 || got.High != 1000 || got.ChangeLow != 20-10 || got.ChangeHigh != 1000-10 || got.ChangeDoubt != DoubtMoved|DoubtOneSided {
		t.Errorf("what it may have been: %+v", got)
	}
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
	lost := c.Exit(0, 1005, nil)[0]
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

// A peak counts what was certainly in use at the enter, and only that.
func TestPeakFromEnter(t *testing.T) {
	for _, tt := range []struct {
		before, after, inside uint64
		want                  uint64
	}{
		{90, 90, 40, 90}, // it freed at once, and no read in it saw that
		{90, 30, 40, 40},
		{20, 20, 40, 40},
	} {
		c := NewCorrelator(CorrelatorOptions{})
		c.Add(okSample(0, 100, tt.before))
		c.Add(okSample(0, 150, tt.after))
		c.Add(okSample(0, 300, tt.inside))
		c.Add(okSample(0, 400, tt.inside))
		c.Enter(0, 120, nil)
		if r := c.Exit(0, 350, nil)[0]; r.Peak != Bytes(tt.want) || r.Peak.N < r.Used.N {
			t.Errorf("%+v: %+v", tt, r)
		}
	}
}

// model answers as the documentation says, from all samples that ever came.
type model struct {
	samples []Sample
	enters  map[uint32]modelEnter
}

type modelEnter struct {
	t     int64
	r     Reading
	index int
}

// reading returns also the index of the sample that gave Used, -1 for none.
func (m *model) reading(t int64) (Reading, int) {
	before, after := -1, -1
	for i, s := range m.samples {
		if s.End <= t {
			before = i
		}
		if s.Start >= t && after < 0 {
			after = i
		}
	}
	given := before
	var r Reading
	switch {
	case len(m.samples) == 0:
		return r, -1
	case before >= 0:
	case after >= 0:
		given, r.Doubt = after, DoubtOneSided
	default:
		given = 0 // the first is under way
	}
	s := m.samples[given]
	r.Status, r.Age, r.Latency = s.Status, s.Mid-t, s.End-s.Start
	if s.Status != StatusOK {
		r.Doubt = 0
		return r, given
	}
	r.Used, r.Total, r.Low, r.High = s.Used, s.Total, s.Used.N, s.Used.N
	for _, s := range m.samples[max(before, 0):] {
		if (after < 0 || s.Start <= m.samples[after].Start) && s.Status == StatusOK && s.End > t || s == m.samples[given] {
			r.Low, r.High = min(r.Low, s.Used.N), max(r.High, s.Used.N)
		}
	}
	if after >= 0 && m.samples[after].Status == StatusOK {
		r.After, r.AfterAge = m.samples[after].Used, m.samples[after].Mid-t
	} else {
		r.Doubt |= DoubtOneSided
	}
	if r.Low != r.High {
		r.Doubt |= DoubtMoved
	}
	return r, given
}

func (m *model) exit(slot uint32, t int64) Reading {
	r, i := m.reading(t)
	e, ok := m.enters[slot]
	if !ok {
		return r
	}
	delete(m.enters, slot)
	if e.r.Used.Known && r.Used.Known && e.index != i {
		r.Change = Delta{N: int64(r.Used.N - e.r.Used.N), Known: true}
		r.ChangeLow, r.ChangeHigh = int64(r.Low-e.r.High), int64(r.High-e.r.Low)
		r.ChangeDoubt = e.r.Doubt | r.Doubt
	}
	for _, s := range m.samples {
		if s.Start >= e.t && s.End <= t && s.Status == StatusOK {
			r.Samples++
			if !r.Peak.Known || s.Used.N > r.Peak.N {
				r.Peak = s.Used
			}
		}
	}
	if r.Peak.Known && e.r.Used.Known && e.r.Doubt == 0 {
		r.Peak.N = max(r.Peak.N, e.r.Used.N)
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
				m.enters[slot] = modelEnter{clock, want, i}
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
		want, i := m.reading(enter)
		if !cmp.Equal(r, want) {
			t.Fatalf("enter at %d: %s", enter, cmp.Diff(want, r))
		}
		m.enters[1] = modelEnter{enter, want, i}
		got := c.Exit(1, exit, nil)[0]
		want = m.exit(1, exit)
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

// Lists tell whether others moved memory, and which devices a process uses.
func TestOthers(t *testing.T) {
	c := NewCorrelator(CorrelatorOptions{})
	c.Expect(2)
	at := int64(0)
	list := func(processes ...Process) {
		at += 100
		p := ProcessSample{PID: 1, Mid: at, Status: StatusOK}
		p.fill(processes)
		c.AddProcess(p)
	}
	own := Process{PID: 1, Used: Bytes(5)}
	other := func(used uint64) Process { return Process{PID: 2, Used: Bytes(used)} }
	for i, step := range []struct {
		list  []Process
		moved bool // since that list, or the one before
	}{
		{[]Process{own}, false},
		{[]Process{{PID: 1, Used: Bytes(6)}}, false},
		{[]Process{own, other(3)}, true},
		{[]Process{own, other(3)}, false},
		{[]Process{own, other(4)}, true},
		{[]Process{own, other(4)}, false},
		{[]Process{own, {PID: 2}}, true}, // nobody knows
		{[]Process{own, {PID: 2}}, true},
		{[]Process{own}, true},
		{[]Process{own}, false},
	} {
		list(step.list...)
		if got := c.OthersMoved(0, 1, at+50); got != step.moved {
			t.Errorf("list %d: others moved: %v", i, got)
		}
	}
	if !c.OthersMoved(0, 1, 850) || c.OthersMoved(0, 1, 950) {
		t.Error("what began before the last move is doubtful, and only that")
	}
	if c.OthersMoved(1, 1, 0) {
		t.Error("a device without lists tells of others")
	}
	if r := c.ProcessAt(0, 1, 400); r.Others != 1 {
		t.Errorf("%d others, want 1", r.Others)
	}
	c.AddProcess(ProcessSample{Device: 1, PID: 1, Mid: at, Status: StatusNotListed})
	c.AddProcess(ProcessSample{Device: 1, PID: 3, Mid: at, Status: StatusNotListed})
	for _, tt := range []struct {
		device, pid int
		want        bool
	}{{0, 1, true}, {1, 1, false}, {1, 3, true}, {0, 9, true}} {
		if got := c.Uses(tt.device, tt.pid); got != tt.want {
			t.Errorf("process %d uses device %d: %v", tt.pid, tt.device, got)
		}
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
		c.Ready(clock, clock, clock)
		c.Until(clock)
		c.ProcessAt(1, 1, clock)
	}
	for range 2000 {
		step()
	}
	if n := testing.AllocsPerRun(5000, step); n != 0 {
		t.Errorf("one boundary allocates %v times", n)
	}
}
